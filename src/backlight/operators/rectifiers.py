"""Rectifiers: the only operators at which deconvnet, guided and gradient differ.

*Source*: Zeiler & Fergus (2013) 2.1 (rectify the reconstruction); Springenberg et al. (2014) (guided);
docs/rules.md (leaky and smooth rectifiers).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from backlight.operators.carry import carry, rectify_signal
from backlight.operators.paths import aten, options_of, packet
from backlight.operators.ruleset import RuleSet


class _Leak(torch.autograd.Function):
    """Forward: the identity. Backward: the leaky rectifier of the signal."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: Tensor | float) -> Tensor:
        ctx.slope = slope
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *signal: Tensor) -> tuple[Tensor, None]:
        return torch.where(signal[0] > 0, signal[0], signal[0] * ctx.slope), None


def leak_signal(x: Tensor, slope: Tensor | float) -> Tensor:
    """Return x, with a gradient whose negative entries are multiplied by slope, a number or one for each map."""
    if isinstance(slope, Tensor):
        slope = slope.detach().reshape(-1, *[1] * (x.dim() - 2))
    return _Leak.apply(x, slope)  # type: ignore[no-any-return]


def replace_rectifier(
    graph: fx.Graph, node: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any], rules: RuleSet
) -> fx.Node | None:
    """Return the rectifier with the rule's way down.

    *Convention*: `deconvnet` and `identity` ignore the unit's own state and an upper clamp (ReLU6), which keeps
    D(c·a) = c·D(a). `guided` is max(r, 0) · max(slope, 0), so a smooth rectifier passes nothing where it falls.
    """
    if rules.rectifier == "gradient":
        return None
    target: Any = node.target
    if rules.rectifier == "guided":
        below = graph.call_function(rectify_signal, (args[0],))
        return graph.call_function(rectify_signal, (graph.call_function(target, (below, *args[1:]), kwargs),))
    source = args[0]
    if rules.rectifier == "deconvnet":
        slope = _literal_slope(node, args, kwargs) if rules.leaky == "literal" else None
        if slope is None:
            source = graph.call_function(rectify_signal, (source,))
        else:
            source = graph.call_function(leak_signal, (source, slope))
    frozen = graph.call_function(torch.detach, (args[0],))
    return graph.call_function(carry, (source, graph.call_function(target, (frozen, *args[1:]), kwargs)))


def _literal_slope(node: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return the slope below zero, a number or the node of a weight; None where the rectifier is not leaky."""
    if packet(node) is aten.prelu:
        return args[1]
    if packet(node) is aten.leaky_relu:
        return options_of(node, args, kwargs).get("negative_slope", 0.01)
    if packet(node) is aten.rrelu:  # of a trained network: the mean of its bounds
        options = {"lower": 1 / 8, "upper": 1 / 3} | options_of(node, args, kwargs)
        return (options["lower"] + options["upper"]) / 2
    return None
