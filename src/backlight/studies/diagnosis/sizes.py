"""Padding by arithmetic: how far fields reach over the edges, and at which input sizes they reach equally far."""

from __future__ import annotations

from math import floor

import torch
from torch import fx
from torch._subclasses.fake_tensor import FakeTensorMode

from backlight.geometry import Axis
from backlight.network import Layer, Network
from backlight.network.cut import cut
from backlight.network.quiet import quiet_torch

_FAR = 2
"""Strides of a layer up to which sizes are tried, below and above the network's own."""


def overhang(axis: Axis, n_units: int, side: int) -> tuple[int, int]:
    """Return by how many pixels the fields of n units reach over the first and over the last edge of the image.

    *Convention*: negative where pixels at the edge are seen by none.

    Example:
        >>> from fractions import Fraction
        >>> overhang(Axis(3, Fraction(2), -1), 16, 32), overhang(Axis(3, Fraction(2), -1), 17, 33)
        ((1, 0), (1, 1))
    """
    return -axis.offset, floor((n_units - 1) * axis.stride) + axis.offset + axis.size - side


def even_sizes(net: Network, layer: Layer) -> tuple[int, ...]:
    """Return the nearest heights, one below and one above the network's, at which a layer's padding is even.

    *Convention*: the height alone changes; what a stride does to columns is the same.

    Example:
        >>> import backlight
        >>> body = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 2, 1), torch.nn.ReLU())
        >>> net = backlight.capture(body, (3, 32, 32))
        >>> even_sizes(net, net.layer("1"))
        (31, 33)
    """
    field, (depth, height, width) = layer.receptive_field, net.input_shape
    if field is None:
        return ()
    module, found = cut(net.module, [(net.node(layer), layer.order)]), []
    for direction in (-1, 1):
        for step in range(1, int(_FAR * field.rows.stride) + 1):
            size = height + direction * step
            n_units = _rows(module, (depth, size, width)) if size > 0 else None
            if n_units is not None and len(set(overhang(field.rows, n_units, size))) == 1:
                found.append(size)
                break
    return tuple(found)


def _rows(module: fx.GraphModule, shape: tuple[int, int, int]) -> int | None:
    """Return how many rows a layer has for inputs of a size; None where its graph takes no other size."""
    (like,) = module.graph.find_nodes(op="placeholder")
    try:
        # shapes without numbers: nothing is computed
        with quiet_torch(), FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
            (maps,) = module(torch.empty(1, *shape, dtype=like.meta["val"].dtype))
    except (
        RuntimeError,
        TypeError,
        AssertionError,
    ):  # a view with sizes of its own, or nothing left to slide over
        return None
    return int(maps.shape[2])
