"""The graph of a scan: of each layer only the peaks leave it, so that no more than one layer's maps is held."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, fx
from torch.nn import functional

from backlight.network import Layer, Network
from backlight.network.fast import rectify_in_place
from backlight.network.fold import fold_batch_norms
from backlight.operators.reading import aten


class Peaks(NamedTuple):
    """What a scan needs of n images and c feature maps.

    Attributes:
        maxima: (n, c, 1, 1) strongest activation.
        sums: (n, c) sum of the activations over all positions, at least float32.
        places: (n, c, 1, 1) int64, place of the strongest activation in the map read row by row; -1 for fully
            connected units.

    Fully connected units give maxima and places (n, c).
    """

    maxima: Tensor
    sums: Tensor
    places: Tensor


def peaks_graph(net: Network, layers: Sequence[Layer]) -> fx.GraphModule:
    """Return a module that gives, for a batch of inputs, what `as_peaks` takes for each layer; batch norms are folded.

    Only operators are in it, no function of ours: those the compiler would have to read.
    """
    module = fold_batch_norms(net.features(layers))
    (output,) = module.graph.find_nodes(op="output")
    found = []
    for layer, node in zip(layers, output.args[0], strict=True):
        if node.target is aten.permute.default:  # `cut` puts these last, which would keep the maps until then
            node.args[0].append(node)
        with module.graph.inserting_after(node):
            spatial = torch.ops.backlight.spatial_peaks.default
            found.append(module.graph.call_function(spatial, (node,)) if layer.is_spatial else node)
    output.args = (tuple(found),)
    # Last: maps whose peaks are read have a second reader by now, and are not written over.
    rectify_in_place(module)
    return module


def as_peaks(found: Sequence[Tensor] | Tensor) -> Peaks:
    """Return the peaks of a layer from what the graph gives for it: three tensors, or fully connected units."""
    if isinstance(found, Tensor):
        return Peaks(found, found, torch.full_like(found, -1, dtype=torch.int64))  # units have no place
    return Peaks(*found)


def _spatial_peaks(maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return maxima, sums and places of maps (n, c, h, w), fastest with channels last in memory.

    A max pool over the whole map gives maximum and place in one pass. As few operators as can be: on a light network
    each of them shows.

    *Convention*: of equal activations the first in reading order counts.
    """
    # One window of h * w cells for each map: maxima and places (n, c, 1, 1); a place is row * w + col.
    maxima, places = functional.max_pool2d(maps, maps.shape[2:], return_indices=True)
    # In half precision a sum of many positions would overflow or stop growing: at least float32.
    sums = maps.sum((2, 3), dtype=torch.promote_types(maps.dtype, torch.float32))
    return maxima, sums, places


def _spatial_peaks_shapes(maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    maxima = maps.new_empty((*maps.shape[:2], 1, 1))
    sums = maps.new_empty(maps.shape[:2], dtype=torch.promote_types(maps.dtype, torch.float32))
    return maxima, sums, torch.empty_like(maxima, dtype=torch.int64)


# An operator of its own, since the compiler would make a slow loop of the pooling.
torch.library.define("backlight::spatial_peaks", "(Tensor maps) -> (Tensor, Tensor, Tensor)")
torch.library.impl("backlight::spatial_peaks", "CompositeExplicitAutograd", _spatial_peaks)
torch.library.register_fake("backlight::spatial_peaks", _spatial_peaks_shapes)
