"""The exact network: a float64 copy of what some layers need, which decides where float32 cannot tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.node import map_aggregate

from backlight.network.cut import ancestors
from backlight.network.layers import Layer
from backlight.network.network import Network


class ExactNetwork:
    """Runs a network in float64 up to some of its layers, one input at a time: no batch norm folded, nothing in place.

    Args:
        net: The captured network, which is not changed; weights are copied when they are first needed.
        layers: The layers that may be asked for.

    *Convention*: it runs on the network's device if that computes in float64, otherwise (MPS) on the CPU. Constants of
    any floating type become float64, and so do conversions to one.
    """

    def __init__(self, net: Network, layers: Sequence[Layer]) -> None:
        device = net.device if has_float64(net.device) else torch.device("cpu")
        module = net.features(layers)
        self._steps, self._output = _Steps(module, device), module.graph.find_nodes(op="output")[0]
        self._needed: dict[tuple[int, ...], set[fx.Node]] = {}

    def __call__(self, pixels: Tensor, wanted: Sequence[int]) -> list[Tensor]:
        """Return activations of one input (c, h, w): those of the wanted layers, (c, h, w) or (c,) each.

        Args:
            pixels: The input.
            wanted: Places of the layers among those that may be asked for; nothing behind them is run.
        """
        key = tuple(wanted)
        if key not in self._needed:
            heads: Any = self._output.args[0]
            self._needed[key] = {self._output} | ancestors(heads[i] for i in wanted)
        self._steps.needed = self._needed[key]
        with torch.no_grad():
            found = self._steps.run(pixels[None])
        return [found[i][0] for i in wanted]


class _Steps(fx.Interpreter):
    """Runs those nodes of a graph that are needed, in float64; values are let go of after their last use.

    Args:
        module: The graph, which becomes this one's own: `cut` made it, over weights that stay as they are.
        device: Where to run.

    Attributes:
        needed: The nodes that are run.
    """

    def __init__(self, module: fx.GraphModule, device: torch.device) -> None:
        self._device, self._weights = device, dict[str, Tensor]()
        self.needed: set[fx.Node] = set()
        for node in module.graph.nodes:
            node.args = map_aggregate(node.args, self._exact)
            node.kwargs = map_aggregate(node.kwargs, self._exact)
        super().__init__(module)

    def run_node(self, n: fx.Node) -> Any:
        """Return the value of a node; None of one that is not needed."""
        return super().run_node(n) if n in self.needed else None

    def placeholder(self, target: Any, args: Any, kwargs: Any) -> Any:
        """Return the pixels in float64."""
        return self._exact(super().placeholder(target, args, kwargs))

    def get_attr(self, target: Any, args: Any, kwargs: Any) -> Any:
        """Return a weight in float64, copied when it is first needed."""
        if target not in self._weights:
            self._weights[target] = self._exact(super().get_attr(target, args, kwargs))
        return self._weights[target]

    def _exact(self, value: Any) -> Any:
        """Return a tensor, a type or a device as this graph has it; anything else as it is."""
        if isinstance(value, Tensor):
            return value.to(self._device, torch.float64 if value.is_floating_point() else value.dtype)
        if isinstance(value, torch.dtype):
            return torch.float64 if value.is_floating_point else value
        return self._device if isinstance(value, torch.device) else value


def coarsest_eps(net: Network) -> float:
    """Return the spacing at 1 of the coarsest numbers that a network computes in: of half precision, where any is."""
    values = [node.meta.get("val") for node in net.module.graph.nodes]
    kinds = {own.dtype for own in values if isinstance(own, Tensor) and own.is_floating_point()}
    return max(torch.finfo(kind).eps for kind in kinds)


def has_float64(device: torch.device) -> bool:
    """Return whether a device computes in float64; MPS does not."""
    try:
        torch.zeros(1, dtype=torch.float64, device=device)
    except (RuntimeError, TypeError):
        return False
    return True
