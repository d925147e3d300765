"""Filters: the weights that make a layer's feature maps, one filter for each map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx

from backlight.network.layers import Layer
from backlight.network.network import Network
from backlight.operators.convolution import convolution_options
from backlight.operators.reading import arguments, aten, packet
from backlight.operators.table import is_convolution, keeps_channels


@dataclass(frozen=True)
class Filters:
    """The filters of a layer.

    Attributes:
        node: The convolution, or the fully connected operator, in the network's graph.
        weights: Filter by filter (n, c, kh, kw), as the network has them, before any batch norm. Those of a fully
            connected layer are (n, c, 1, 1).
        groups: Into how many groups the convolution parts its maps; filters of two groups read different maps.
        reads_pixels: Whether it is a convolution of the pixels, no other one before it: its filters are small pictures.
    """

    node: fx.Node
    weights: Tensor
    groups: int
    reads_pixels: bool


def filters_of(net: Network, layer: str | Layer) -> Filters | None:
    """Return the filters that make a layer's feature maps, each map by one.

    None where there are none: the maps are sums or joins of several, are in another order than the filters, or are made
    by a transposed convolution, or by weights that are computed anew for each batch.
    """
    node = net.node(layer)
    while not _is_product(node):
        below = net.analysis.signal_inputs(node)
        if len(below) != 1 or node.args[:1] != below or not keeps_channels(node):
            return None
        (node,) = below
    weights = _weights(net, node)
    if weights is None:
        return None
    groups = convolution_options(node)["groups"] if is_convolution(node) else 1
    return Filters(node, weights, groups, is_convolution(node) and _reads_pixels(net, node))


def _is_product(node: fx.Node) -> bool:
    return is_convolution(node) or packet(node) is aten.linear


def _weights(net: Network, node: fx.Node) -> Tensor | None:
    """Return the weights of a convolution over images, or of a fully connected layer, as (n, c, kh, kw)."""
    given: Any = arguments(node)["weight"]
    is_flat = packet(node) is aten.linear and len(node.meta["val"].shape) == 2
    if given.op != "get_attr" or not (is_flat or packet(node) is aten.conv2d):
        return None
    weights = net.module.get_buffer(str(given.target))
    return weights[:, :, None, None] if is_flat else weights


def _reads_pixels(net: Network, node: fx.Node) -> bool:
    """Return whether all that a convolution reads is the pixels, each operator on the way having one signal."""
    below = net.analysis.signal_inputs(node)
    while len(below) == 1 and below[0].op != "placeholder" and not _is_product(below[0]):
        below = net.analysis.signal_inputs(below[0])
    return len(below) == 1 and below[0].op == "placeholder"
