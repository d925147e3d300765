"""The building blocks of all rules: functions that a rewritten graph calls, and how each passes a signal back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx

from backlight.operators.adjoint import PASS_ON, Adjoint, Below, Record, Walk, pass_on
from backlight.operators.operator import Operator
from backlight.operators.windows import Windows


class _Carry(torch.autograd.Function):
    """Forward: value. Backward: the signal goes to source unchanged."""

    @staticmethod
    def forward(ctx: Any, source: Tensor, value: Tensor) -> Tensor:
        return value.view_as(value)  # a new tensor for autograd to mark as this function's output

    @staticmethod
    def backward(ctx: Any, *signal: Tensor) -> tuple[Tensor, None]:
        return signal[0], None


class _Rectify(torch.autograd.Function):
    """Forward: the identity. Backward: max(signal, 0)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *signal: Tensor) -> Tensor:
        return signal[0].clamp_min(0)


def carry(source: Tensor, value: Tensor) -> Tensor:
    """Return value, with a gradient that goes to source (of the same shape) as it is."""
    return _Carry.apply(source, value.detach())  # type: ignore[no-any-return]


def rectify_signal(x: Tensor) -> Tensor:
    """Return x, with a gradient whose negative entries become zero."""
    return _Rectify.apply(x)  # type: ignore[no-any-return]


def written_over(place: Tensor, value: Tensor) -> Tensor:
    """Return value in the shape and type of the place that it is written to."""
    return value.to(place.dtype).expand_as(place)


def first_argument(node: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any], record: Record) -> Any:
    """Evaluate a function that is the identity in the forward pass, without a copy."""
    return args[0]


def _second_argument(node: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any], record: Record) -> Any:
    return args[1]


def _rectify(node: fx.Node, signal: Windows, walk: Walk) -> Below:
    data = signal.data.clamp_(min=0) if signal.fresh else signal.data.clamp(min=0)
    yield node.args[0], signal.with_data(data)


OPERATORS = (
    Operator(
        (carry,),
        passes=slice(1),
        adjoint=replace(PASS_ON, forward=_second_argument),
    ),
    Operator((written_over,), passes=slice(1, 2)),
    Operator((torch.detach,), passes=slice(0), adjoint=Adjoint(pass_on, forward=first_argument)),
    Operator((rectify_signal,), adjoint=Adjoint(_rectify, forward=first_argument)),
)
