"""The building blocks of all rules: a value from one place with a gradient to another, and a rectified gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from backlight.operators.paths import all_operands, carries_signal, operands


class _Carry(torch.autograd.Function):
    """Forward: value. Backward: the signal goes to source unchanged."""

    @staticmethod
    def forward(ctx: Any, source: Tensor, value: Tensor) -> Tensor:
        return value.view_as(value)

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


_PASSED: dict[Any, slice] = {carry: slice(1), written_over: slice(1, 2)}


def passed_operands(node: fx.Node) -> list[fx.Node]:
    """Return the operands through which a node of a rewritten graph passes a signal, each once.

    Not among them: what only lends its shape, what is held fixed, and masks and indices, which carry none.
    """
    if node.op != "call_function" or node.target is torch.detach or not carries_signal(node):
        return []
    passed = _PASSED.get(node.target)
    found = all_operands(node) if passed is None else operands(node.args[passed])
    return [n for n in dict.fromkeys(found) if carries_signal(n)]
