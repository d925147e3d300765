"""Batches: making a graph that was traced for one number of images take any number."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils._pytree import tree_leaves

from backlight.network.eager import run_eagerly
from backlight.operators.reading import aten, packet

_VIEWS = {aten.view, aten._unsafe_view, aten.reshape}
_SIZED = {  # and the position of the argument that holds the sizes
    aten.expand: 1,
    aten.zeros: 0,
    aten.ones: 0,
    aten.empty: 0,
    aten.full: 0,
    aten.new_zeros: 1,
    aten.new_ones: 1,
    aten.new_full: 1,
    aten.new_empty: 1,
}


def fixed_number(module: fx.GraphModule) -> int | None:
    """Return how many images an exported program was made for; None for any number, or if it does not say."""
    pixels = module.graph.find_nodes(op="placeholder")[:1]
    value = pixels[0].meta.get("val") if pixels else None
    # a symbolic size, of any number, is a SymInt
    return value.shape[0] if isinstance(value, Tensor) and type(value.shape[0]) is int else None


def for_any_number(module: fx.GraphModule, n_images: int) -> fx.GraphModule:
    """Return a copy in which sizes that start with the number of images follow the number of the input.

    A size can start with that number by chance, so `same_for_each_image` must check the result.

    Args:
        module: A graph with static shapes, from torch.export; its weights are shared.
        n_images: The number of images that it was made for.
    """
    graph = copy.deepcopy(module.graph)
    (pixels,) = graph.find_nodes(op="placeholder")
    # `number` is the symbolic size of the input's first dimension.
    with graph.inserting_after(pixels):
        number = graph.call_function(aten.sym_size.int, (pixels, 0))
    for node in graph.nodes:
        value = node.meta.get("val")
        if packet(node) in _VIEWS and isinstance(value, Tensor) and value.dim():
            node.update_arg(1, [-1, *value.shape[1:]])  # -1: the first size follows the number of images
        elif packet(node) in _SIZED:
            place = _SIZED[packet(node)]
            sizes: Any = node.args[place] if place < len(node.args) else ()
            if sizes and sizes[0] == n_images:
                node.update_arg(place, [number, *sizes[1:]])
    return fx.GraphModule(module, graph)


def same_for_each_image(plain: fx.GraphModule, module: fx.GraphModule, batch: Tensor, n_images: int) -> bool:
    """Return whether a graph for any number gives for many images what a program gives for `n_images` at a time.

    Args:
        plain: The graph for any number of images; returns a flat tuple.
        module: The program that it was made from.
        batch: An example; only its shape and dtype matter.
        n_images: The number of images that the program takes.
    """
    generator = torch.Generator().manual_seed(0)
    # Three programs' worth of images that all differ: what mixes or mistakes them does not come out the same.
    sizes = (3 * n_images, *batch.shape[1:])
    images = torch.rand(sizes, generator=generator).to(batch)
    try:
        with torch.no_grad():
            ours = plain(images)
            parts = [tree_leaves(run_eagerly(module, part)) for part in torch.split(images, n_images)]
            return all(
                torch.allclose(a, torch.cat(b), rtol=1e-3, atol=1e-5, equal_nan=True)
                for a, b in zip(ours, zip(*parts, strict=True), strict=True)
                if isinstance(a, Tensor)
            )
    except (RuntimeError, TypeError, IndexError):  # a size that is still fixed does not take so many images
        return False
