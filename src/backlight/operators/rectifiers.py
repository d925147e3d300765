"""Rectifiers: the only operators at which deconvnet, guided and gradient differ.

*Source*: Zeiler & Fergus (2013) 2.1 (rectify the reconstruction); Springenberg et al. (2014) (guided);
docs/rules.md (leaky and smooth rectifiers).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from backlight.operators import local
from backlight.operators.adjoint import IN_PLACE
from backlight.operators.carry import carry, first_argument, rectify_signal
from backlight.operators.fields import cell_by_cell, unchanged
from backlight.operators.kinds import rectifier_of_first
from backlight.operators.operator import (
    Example,
    Operator,
    OperatorClass,
    Origin,
    Paths,
    Rewriting,
    Rule,
    named,
)
from backlight.operators.reading import aten, options_of

Slope = Callable[[Rewriting], Any]
"""Gives a leaky rectifier's slope below zero: a number, or the node of a weight."""


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
        # (c,) -> (c, 1, 1), beside maps (n, c, h, w)
        slope = slope.detach().reshape(-1, *[1] * (x.dim() - 2))
    return _Leak.apply(x, slope)  # type: ignore[no-any-return]


def rectifier_rule(slope: Slope | None = None) -> Rule:
    """Return the rule of a rectifier.

    Args:
        slope: Gives the slope below zero of a leaky rectifier, which `leaky=literal` applies to the signal too.

    *Convention*: `deconvnet` and `identity` ignore the unit's own state and an upper clamp (ReLU6), which keeps
    D(c·a) = c·D(a). `guided` is max(r, 0) · max(slope, 0), so a smooth rectifier passes nothing where it falls.
    """

    def rule(at: Rewriting) -> fx.Node | None:
        rules, source = at.rules, at.args[0]
        if rules.rectifier == "gradient":
            return None
        if rules.rectifier == "guided":
            # Read backwards: max(r, 0), times the slope, and max again, as a smooth rectifier's slope may be negative.
            below, target = at.call(rectify_signal, source), at.node.target
            return at.call(rectify_signal, at.call(target, below, *at.args[1:], **at.kwargs))  # type: ignore[arg-type]
        if rules.rectifier == "deconvnet":
            if slope is not None and rules.leaky == "literal":
                source = at.call(leak_signal, source, slope(at))
            else:
                source = at.call(rectify_signal, source)
        return at.call(carry, source, at.value())

    leaky = "" if slope is None else "; the leaky function of r with `leaky=literal`"
    rule.__doc__ = f"max(r, 0), regardless of the unit's own state{leaky}."
    return rule


rectify = rectifier_rule()


def _weights_slope(at: Rewriting) -> Any:
    return at.args[1]


def _number_slope(at: Rewriting) -> Any:
    return options_of(at.node, at.args, at.kwargs).get("negative_slope", 0.01)


def _mean_slope(at: Rewriting) -> Any:
    """Return the slope of a random leaky rectifier in a trained network: the mean of its bounds."""
    options = {"lower": 1 / 8, "upper": 1 / 3} | options_of(at.node, at.args, at.kwargs)
    return (options["lower"] + options["upper"]) / 2


def _bounds(node: fx.Node) -> tuple[Any, Any]:
    low, high = (*node.args[1:3], None, None)[:2]
    return low, high


def _clamp_kind(node: fx.Node, paths: Paths) -> OperatorClass:
    """A rectifier, if it starts at zero or has no upper bound; else unknown.

    *Convention*: from zero to an upper bound it is a ReLU6, and max(x, c) is a ReLU moved by c. Any other pair of
    bounds makes it a squash.
    """
    low, high = _bounds(node)
    is_rectifier = low is not None and (high is None or low in (0, 0.0))
    return OperatorClass.RECTIFIER if is_rectifier and paths.first_only(node) else OperatorClass.UNKNOWN


def _clamp_or_minimum(node: fx.Node, paths: Paths) -> OperatorClass:
    """A rectifier, if it starts at zero or has no upper bound; with an upper bound only a selector; else unknown."""
    low, high = _bounds(node)
    if low is None and high is not None and paths.first_only(node):
        return OperatorClass.SELECTOR
    return _clamp_kind(node, paths)


def _clamp(at: Rewriting) -> fx.Node | None:
    """max(r, 0); in a gate's branch max(x, c) only keeps a divisor away from zero, and has its derivative."""
    guards = at.in_branch and at.node.args[1] not in (0, 0.0)
    return None if at.kind is not OperatorClass.RECTIFIER or guards else rectify(at)


_RECTIFIER = Operator(
    ("relu",),
    kind=rectifier_of_first,
    origin=Origin.RECTIFIED,
    field=cell_by_cell,
    rule=rectify,
    adjoint=IN_PLACE,
    is_local=local.cell_by_cell,
    examples=(Example(F.relu),),
)


def _rectifier(name: str, function: Callable[[Tensor], Tensor], **more: Any) -> Operator:
    return replace(_RECTIFIER, names=named(name), examples=(Example(function),), **more)


def _slopes(x: Tensor) -> Tensor:
    return torch.linspace(-0.5, 0.5, x.shape[1], dtype=x.dtype)


OPERATORS = (
    _RECTIFIER,
    _rectifier("relu6", F.relu6),
    _rectifier("threshold", lambda x: F.threshold(x, 0.25, 0.0)),
    _rectifier("elu", F.elu),
    _rectifier("celu", F.celu),
    _rectifier("selu", F.selu),
    _rectifier("gelu", F.gelu),
    _rectifier("silu", F.silu),
    _rectifier("mish", F.mish),
    _rectifier("softplus", F.softplus),
    _rectifier("hardswish", F.hardswish, field=unchanged),
    _rectifier("leaky_relu", lambda x: F.leaky_relu(x, 0.2), rule=rectifier_rule(_number_slope)),
    _rectifier(
        "rrelu",
        lambda x: aten.rrelu.default(x),
        rule=rectifier_rule(_mean_slope),
        is_local=local.by_channel,
    ),
    _rectifier(
        "prelu",
        lambda x: aten.prelu.default(x, _slopes(x)),
        rule=rectifier_rule(_weights_slope),
        field=unchanged,
        is_local=local.by_channel,
    ),
    _rectifier(
        "_prelu_kernel", lambda x: aten._prelu_kernel.default(x, _slopes(x)[:, None, None]), field=unchanged
    ),
    _rectifier("hardtanh", lambda x: F.hardtanh(x, 0, 1), kind=_clamp_kind, rule=_clamp),
    _rectifier("clamp_min", lambda x: x.clamp_min(0.1), kind=_clamp_kind, rule=_clamp),
    _rectifier("clamp", lambda x: x.clamp(min=0), kind=_clamp_or_minimum, rule=_clamp),
    Operator((leak_signal,), adjoint=replace(IN_PLACE, forward=first_argument)),
)
