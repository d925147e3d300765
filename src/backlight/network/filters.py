"""Filters: the weights that make a layer's feature maps, one filter for each map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, fx

from backlight.network.layers import Layer
from backlight.network.network import Network
from backlight.operators.convolution import convolution_options
from backlight.operators.reading import arguments, aten, options_of, packet, shape_of
from backlight.operators.table import is_convolution, keeps_channels


@dataclass(frozen=True)
class Filters:
    """The filters of a layer.

    Attributes:
        weights: Filter by filter (n, c, kh, kw), as the network has them, before any batch norm. Those of a fully
            connected layer are (n, c, 1, 1).
        groups: Into how many groups the convolution parts its maps; filters of two groups read different maps.
        reads_pixels: Whether it is a convolution of the pixels, no other one before it: its filters are small pictures.
    """

    weights: Tensor
    groups: int
    reads_pixels: bool


@dataclass(frozen=True)
class FilterPlace:
    """Where in a network's weights the filter of a map is.

    Attributes:
        weight: Name of the weights in the network's module.
        index: What of them makes the map.
    """

    weight: str
    index: tuple[slice | int, ...]

    def read(self, net: Network) -> NDArray[np.float32]:
        """Return a copy of the filter."""
        found: NDArray[np.float32] = net.module.get_buffer(self.weight)[self.index].float().cpu().numpy()
        return found.copy()


def filters_of(net: Network, layer: str | Layer) -> Filters | None:
    """Return the filters that make a layer's feature maps, each map by one.

    None where there are none: the maps are sums or joins of several, are in another order than the filters, or are made
    by a transposed convolution, or by weights that are computed anew for each batch.
    """
    node: fx.Node | None = net.node(layer)
    while node is not None and not _is_product(node):
        node = _same_maps(net, node)
    weights = None if node is None else _weights(net, node)
    if node is None or weights is None:
        return None
    groups = convolution_options(node)["groups"] if is_convolution(node) else 1
    return Filters(weights, groups, is_convolution(node) and _reads_pixels(net, node))


def filter_place(net: Network, layer: str | Layer, channel: int) -> FilterPlace | None:
    """Return where the weights are that make one feature map; None where they are not those of one operator.

    Other than `filters_of`, it looks through joins, as it may find each map's filter elsewhere, and knows transposed
    convolutions and fully connected layers of any rank.

    Example:
        >>> import torch, backlight
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 5), torch.nn.BatchNorm2d(4), torch.nn.ReLU()).eval()
        >>> net = backlight.capture(model, (3, 9, 9))
        >>> filter_place(net, "2", 1).read(net).shape
        (3, 5, 5)
    """
    node, dim = net.node(layer), net.layer(layer).order[1]
    while not _is_product(node):
        if packet(node) is aten.cat:
            found = _part(node, channel, dim)
        else:
            below = _same_maps(net, node)
            found = None if below is None else (below, channel)
        if found is None:
            return None
        node, channel = found
    return _of_weights(node, channel)


def _same_maps(net: Network, node: fx.Node) -> fx.Node | None:
    """Return the node whose maps a node's are made of, each of the one in its place; None where there is none."""
    below = net.analysis.signal_inputs(node)
    return below[0] if len(below) == 1 and node.args[:1] == below and keeps_channels(node) else None


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


def _part(node: fx.Node, channel: int, dim: int) -> tuple[fx.Node, int] | None:
    """Return which of some joined tensors has a channel, and which it is there; None if they join something else."""
    options = {"dim": 0} | options_of(node, node.args, node.kwargs)
    bundle: Any = node.args[0]
    if options["dim"] % len(shape_of(bundle[0]) or ()) != dim:
        return None
    for own in bundle:
        size = int((shape_of(own) or ())[dim])
        if channel < size:
            return own, channel
        channel -= size
    return None


def _of_weights(node: fx.Node, channel: int) -> FilterPlace | None:
    """Return the filter of a channel of a convolution's or a linear map's output."""
    options = options_of(node, node.args, node.kwargs)
    weight: Any = options["weight"]
    if not isinstance(weight, fx.Node) or weight.op != "get_attr":  # computed, as weight norm does
        return None
    name = str(weight.target)
    if not options.get("transposed", "conv_transpose" in str(packet(node))):
        return FilterPlace(name, (channel,))
    # (in, out / groups, ...): group g maps its part of the inputs to out / groups outputs
    n_in, per_group = (int(size) for size in (shape_of(weight) or ())[:2])
    groups = int(options.get("groups", 1))
    group, place = divmod(channel, per_group)
    rows = n_in // groups
    return FilterPlace(name, (slice(group * rows, (group + 1) * rows), place))
