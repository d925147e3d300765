"""Division: linear by a constant, a gate by a signal; local response normalisation is one with an option of its own.

*Source*: docs/rules.md; `identity` for contrast normalisation is that of Mahendran & Vedaldi (2016).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from backlight.operators import local
from backlight.operators.adjoint import IN_PLACE, PASS_ON
from backlight.operators.carry import carry
from backlight.operators.fields import cell_by_cell
from backlight.operators.kinds import gate, holds_all_but_first_signal, linear_in_first
from backlight.operators.operator import Example, Operator, OperatorClass, Origin, Paths, Rewriting
from backlight.operators.products import freeze_factors, hold_factors
from backlight.operators.reading import module_of


class _UndoDivision(torch.autograd.Function):
    """Forward: the quotient. Backward: the signal times the divisor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, divisor: Tensor) -> Tensor:
        ctx.save_for_backward(divisor)
        return x / divisor

    @staticmethod
    def backward(ctx: Any, *signal: Tensor) -> tuple[Tensor, None]:
        return signal[0] * ctx.saved_tensors[0], None


def inverse_division(x: Tensor, divisor: Tensor) -> Tensor:
    """Return x / divisor, with a backward pass that multiplies by the divisor."""
    return _UndoDivision.apply(x, divisor.detach())  # type: ignore[no-any-return]


def carried_division(x: Tensor, divisor: Tensor) -> Tensor:
    """Return x / divisor, with a backward pass that passes the signal as it is."""
    return carry(x, x.detach() / divisor)


def _kind(node: fx.Node, paths: Paths) -> OperatorClass:
    """A gate by a signal, linear by a constant; unknown if it rounds, or if the divisor alone is a signal."""
    if node.kwargs.get("rounding_mode") is not None:
        return OperatorClass.UNKNOWN
    return gate(node, paths) if paths.held_fixed(node) else linear_in_first(node, paths)


def _option(node: fx.Node) -> str:
    """Return `lrn` for the division of a local response normalisation, as a module or a function; else `gates`."""
    function = (node.meta.get("torch_fn") or ("", ""))[1]
    is_lrn = module_of(node) == "LocalResponseNorm" or function.endswith(".local_response_norm")
    return "lrn" if is_lrn else "gates"


def _hold_divisor(at: Rewriting) -> fx.Node | None:
    """Hold the divisor fixed; local response normalisation follows the option `lrn`."""
    if at.kind is not OperatorClass.GATE:
        return None
    if _option(at.node) == "gates":
        return freeze_factors(at)
    if at.rules.lrn == "vjp":
        return None
    if at.rules.lrn == "identity":
        return at.call(carried_division, *at.args[:2])
    if at.rules.lrn == "inverse":
        return at.call(inverse_division, *at.args[:2])
    return hold_factors(at)


OPERATORS = (
    Operator(
        ("div",),
        kind=_kind,
        holds=holds_all_but_first_signal,
        origin=Origin.ENTRIES,
        field=cell_by_cell,
        rule=_hold_divisor,
        option=_option,
        adjoint=IN_PLACE,
        is_local=local.cell_by_cell,
        examples=(
            Example(lambda x: x / 3),
            Example(lambda x: x / (x * x).sum(1, keepdim=True).add(1)),
            Example(lambda x: F.local_response_norm(x, 3), (6, 8, 8)),
        ),
    ),
    Operator((inverse_division,), adjoint=IN_PLACE),
    Operator((carried_division,), adjoint=PASS_ON),
)
