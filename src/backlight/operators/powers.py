"""Powers and gated linear units: gates that scale a signal by a factor made from it, which is held fixed."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from backlight.operators.adjoint import IN_PLACE
from backlight.operators.carry import carry
from backlight.operators.fields import cell_by_cell, mixing
from backlight.operators.kinds import gate_of_first
from backlight.operators.operator import Example, Kind, Operator, OperatorClass, Paths, Rewriting, Rule


def frozen_power(x: Tensor, exponent: Tensor | float | int, value: Tensor) -> Tensor:
    """Return value = x ** exponent; the backward pass multiplies by x ** (exponent - 1), or 0 if infinite."""
    factor = x.detach() ** (exponent - 1)
    return carry(x * torch.where(factor.isfinite(), factor, 0), value)


def frozen_glu(x: Tensor, dim: int = -1) -> Tensor:
    """Return the gated linear unit of x: its first half times the sigmoid of its second, which is held fixed."""
    signal, gate = x.chunk(2, dim)
    return carry(signal * gate.detach().sigmoid(), torch.nn.functional.glu(x.detach(), dim))


def _is_positive(exponent: Any) -> bool:
    if isinstance(exponent, fx.Node):
        return exponent.op == "get_attr" and bool(torch.all(exponent.meta["val"] > 0))
    return float(exponent) > 0


def _power_kind(node: fx.Node, paths: Paths) -> OperatorClass:
    """A gate for a constant exponent above 0; else unknown.

    *Convention*: x ** p is x times x ** (p - 1), as x * x is; only for p > 0, where it grows with x.
    """
    return gate_of_first(node, paths) if _is_positive(node.args[1]) else OperatorClass.UNKNOWN


def _hold_power(exponent: int | float | None = None) -> Rule:
    """Return the rule of x ** p, where p is given by the operator's name or, as None, by its second argument."""

    def rule(at: Rewriting) -> fx.Node | None:
        """Multiply by x ** (p - 1), held fixed: x ** p is x times that."""
        if not at.holds_factors:
            return None
        return at.call(frozen_power, at.args[0], exponent or at.args[1], at.value())

    return rule


def _hold_half(at: Rewriting) -> fx.Node | None:
    """Hold the sigmoid of the second half fixed; the signal goes to the first half."""
    return at.call(frozen_glu, *at.args[:2]) if at.holds_factors else None


def _power(name: str, kind: Kind, rule: Rule, *examples: Example) -> Operator:
    return Operator((name,), kind=kind, field=cell_by_cell, rule=rule, examples=examples)


OPERATORS = (
    _power("pow", _power_kind, _hold_power(), Example(lambda x: x**3), Example(lambda x: (x**2) ** 1.5)),
    _power("square", gate_of_first, _hold_power(2), Example(torch.square)),
    _power("sqrt", gate_of_first, _hold_power(0.5), Example(lambda x: torch.sqrt(x * x))),
    Operator(
        ("glu",),
        kind=gate_of_first,
        field=mixing,
        rule=_hold_half,
        examples=(Example(lambda x: F.glu(x, 1), (4, 12, 12)),),
    ),
    Operator((frozen_power,), adjoint=IN_PLACE),
)
