"""Networks with the same graph in which some weights are replaced."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from backlight.network.layers import Layer
from backlight.network.network import Network
from backlight.operators.reading import options_of
from backlight.operators.table import is_convolution, operator_of


@dataclass(frozen=True)
class Weighted:
    """An operator with weights.

    Attributes:
        name: Where it is in the model, in the user's terms.
        weight: Name of its weight in the network's module.
        bias: Name of its bias; None if it has none.
    """

    name: str
    weight: str
    bias: str | None


def weighted_below(net: Network, layer: Layer) -> list[Weighted]:
    """Return the convolutions and linear maps between the pixels and a layer, in the order of the graph.

    Example:
        >>> import backlight
        >>> net = backlight.capture(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU()), (3, 8, 8))
        >>> [which.name for which in weighted_below(net, net.layer("1"))]
        ['0']
    """
    path = set(net.analysis.path([net.node(layer)]))
    found = []
    for node in net.module.graph.nodes:
        if node in path and (is_convolution(node) or operator_of(node).maps_channels):
            options = options_of(node, node.args, node.kwargs)
            weight: Any = options["weight"]
            bias: Any = options.get("bias")
            if _is_stored(weight):
                bias_name = str(bias.target) if _is_stored(bias) else None
                found.append(Weighted(net.where(node), str(weight.target), bias_name))
    return found


def _is_stored(node: Any) -> bool:
    return isinstance(node, fx.Node) and node.op == "get_attr"


def with_weights(net: Network, weights: Mapping[str, Tensor]) -> Network:
    """Return a network with the same graph in which some weights are replaced; everything else is shared.

    Args:
        net: The captured network; it is not changed.
        weights: The new weights, by their names in the network's module.
    """
    # The graph is copied, so that the new module and the old one do not share nodes.
    graph = fx.Graph()
    graph.output(graph.graph_copy(net.module.graph, {}))
    graph.find_nodes(op="output")[0].meta = dict(net.module.graph.find_nodes(op="output")[0].meta)
    # The new module holds references to the same tensors; registering another under a name changes only its own.
    module = fx.GraphModule(net.module, graph)
    module.meta.update(net.module.meta)
    for name, tensor in weights.items():
        old = net.module.get_buffer(name)
        module.register_buffer(name, tensor.to(old.device, old.dtype))
    return Network(module.eval(), net.name, net.input_shape, net.preprocessing)


def random_weights(net: Network, which: Weighted, generator: np.random.Generator) -> dict[str, Tensor]:
    """Return random weights for an operator: normal, with the standard deviation of its own ones; the bias is zero."""
    # Drawn by NumPy, so that a seed gives the same weights on every device.
    own = net.module.get_buffer(which.weight)
    noise = torch.from_numpy(generator.standard_normal(tuple(own.shape))).to(own)
    found = {which.weight: noise * own.std(correction=0)}
    if which.bias is not None:
        found[which.bias] = torch.zeros_like(net.module.get_buffer(which.bias))
    return found
