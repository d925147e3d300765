"""The weights that make a feature map: the filter of the one convolution or linear map that its layer comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import fx

from backlight.network import Layer, Network
from backlight.operators.operator import OperatorClass
from backlight.operators.reading import aten, options_of, packet, shape_of
from backlight.operators.table import is_batch_norm, is_convolution

_SAME_MAPS = (aten.alias, aten.clone, aten.max_pool2d, aten.max_pool2d_with_indices, aten.avg_pool2d)


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


def filter_place(net: Network, layer: Layer, channel: int) -> FilterPlace | None:
    """Return where the weights are that make a feature map; None where they are not those of one operator.

    Rectifiers, batch norms, poolings and joins of maps are looked through. A batch norm's own scale is not part of the
    filter.

    Example:
        >>> import torch, backlight
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 5), torch.nn.BatchNorm2d(4), torch.nn.ReLU()).eval()
        >>> net = backlight.capture(model, (3, 9, 9))
        >>> filter_place(net, net.layer("2"), 1).read(net).shape
        (3, 5, 5)
    """
    node: Any = net.node(layer)
    dim = layer.order[1]
    while node.op == "call_function":
        if is_convolution(node) or packet(node) is aten.linear:
            return _of_weights(node, channel)
        below = net.analysis.signal_inputs(node)
        if packet(node) is aten.cat:
            node, channel = _part(node, channel, dim)
        elif len(below) == 1 and _keeps_maps(node, net):
            node = below[0]
        else:
            return None
    return None


def _keeps_maps(node: fx.Node, net: Network) -> bool:
    """Return whether map i of an operator's output comes from map i of its input alone."""
    is_rectifier = net.analysis.classify(node) is OperatorClass.RECTIFIER
    is_part = getattr(node.target, "__name__", "") == "getitem"
    return is_rectifier or is_part or is_batch_norm(node) or packet(node) in _SAME_MAPS


def _part(node: fx.Node, channel: int, dim: int) -> tuple[Any, int]:
    """Return which of some joined tensors has a channel, and which it is there; the node's own output for none."""
    options = {"dim": 0} | options_of(node, node.args, node.kwargs)
    bundle: Any = node.args[0]
    rank = len(shape_of(bundle[0]) or ())
    if options["dim"] % rank == dim:
        for one in bundle:
            size = int((shape_of(one) or ())[dim])
            if channel < size:
                return one, channel
            channel -= size
    return (
        node.graph.output_node(),
        channel,
    )  # joined along another dimension: no operator makes the map alone


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
