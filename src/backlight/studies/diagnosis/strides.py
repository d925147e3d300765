"""The strides of a network: the operators that take only every so many places of what they slide over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from backlight.network import Layer, Network
from backlight.network.cut import ancestors, cut
from backlight.network.fold import fold_batch_norms
from backlight.operators.reading import arguments, as_list, aten, operator_name, options_of, packet

_SLIDES = (aten.conv2d, aten.convolution, aten.max_pool2d, aten.avg_pool2d)
"""Operators that slide along rows and columns."""


@dataclass(frozen=True)
class Stride:
    """An operator with a stride.

    Attributes:
        layer: The first of the layers behind it.
        operator: ATen's name of the operator.
        step: By how many rows and columns it moves.
    """

    layer: Layer
    operator: str
    step: tuple[int, int]


class Strides(fx.Interpreter):
    """The strides between the layers of a network and the pixels.

    Args:
        net: The captured network.
        layers: Layers in the order of the graph.

    Attributes:
        found: The strides, in the order of the graph.
    """

    def __init__(self, net: Network, layers: Sequence[Layer]) -> None:
        module = fold_batch_norms(cut(net.module, [(net.node(layer), None) for layer in layers]))
        super().__init__(module)
        self._home = net.device, net.dtype
        (returned,) = module.graph.find_nodes(op="output")
        behind = _first_behind(returned.args[0], layers)
        self._heads = dict(zip((layer.name for layer in layers), returned.args[0], strict=True))
        self._nodes = {
            node: Stride(behind[node], operator_name(node), step)
            for node in module.graph.nodes
            if node in behind and (step := _step(node)) is not None and max(step) > 1
        }
        self.found = tuple(self._nodes.values())
        self._dense: list[Tensor] = []

    def dense(self, inputs: Tensor) -> list[Tensor]:
        """Return for each stride what its operator gives at all places, (n, c, h, w), of inputs (n, c, h, w).

        Every `step`-th row and column of it, from the first, is what the network goes on with.
        """
        self._dense = []
        with torch.no_grad():
            self.run(inputs.to(*self._home))
        found, self._dense = self._dense, []
        return found

    def below(self, layer: Layer) -> list[Stride]:
        """Return the strides that a layer's signal passes, from the pixels up."""
        needed = ancestors([self._heads[layer.name]])
        return [own for node, own in self._nodes.items() if node in needed]

    def run_node(self, n: fx.Node) -> Any:
        """Run a node of the graph, and one with a stride without it too."""
        if n in self._nodes:
            args, kwargs = self.fetch_args_kwargs_from_env(n)
            options = options_of(n, args, kwargs) | {"stride": [1, 1]}
            # a pool without a stride of its own moves by its kernel, and one that counts half a window more would here
            options.pop("ceil_mode", None)
            target: Any = n.target
            self._dense.append(target(args[0], **options))
        return super().run_node(n)


def _step(node: fx.Node) -> tuple[int, int] | None:
    """Return by how many rows and columns an operator moves; None for one that does not slide along them."""
    if node.op != "call_function" or packet(node) not in _SLIDES:
        return None
    given = arguments(node)
    if given.get("transposed"):
        return None
    step = as_list(given["stride"] or given["kernel_size"], 2)
    return step[0], step[1]


def _first_behind(heads: Sequence[fx.Node], layers: Sequence[Layer]) -> dict[fx.Node, Layer]:
    """Return for each node that leads to a layer the first such layer."""
    found: dict[fx.Node, Layer] = {}
    for head, layer in zip(heads, layers, strict=True):
        todo = [head]
        while todo:
            node = todo.pop()
            if node not in found:
                found[node] = layer
                todo.extend(node.all_input_nodes)
    return found
