"""Waking units: a gradient for units that rectifiers have switched off, where there would be none at all.

A unit to be maximised is often silent on the noise that the search starts from, and a silent rectifier has no gradient,
so the image would never move.

*Source*: Olah, Mordvintsev & Schubert (2017), "Feature visualization", whose program lets gradients pass rectifiers in
the first steps. *Differs*: here they pass for as long as a rectifier would block all of an image's gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

from backlight.operators.reading import aten, packet

_FLAT_BELOW = {
    aten.relu,
    aten.relu_,
    aten.relu6,
    aten.hardtanh,
    aten.clamp_min,
    aten.threshold,
    aten.hardswish,
}


def wake_rectifiers(module: fx.GraphModule) -> None:
    """Let rectifiers that would block all of an image's gradient pass the part that would raise them; in place."""
    for node in module.graph.nodes:
        # with a second tensor as its limit, clamp_min is no rectifier
        if node.op == "call_function" and packet(node) in _FLAT_BELOW and len(node.all_input_nodes) == 1:
            rectify = aten.relu.default if packet(node) is aten.relu_ else node.target
            node.args, node.target = (rectify, *node.args), woken
    module.recompile()


def woken(rectify: Callable[..., Tensor], x: Tensor, *options: Any, **more: Any) -> Tensor:
    """Return the rectified x, (n, ...), with a gradient to descend, as above."""
    done: Tensor = _Woken.apply(x, lambda own: rectify(own, *options, **more))
    return done


class _Woken(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rectify: Callable[[Tensor], Tensor]) -> Tensor:
        # a graph of the rectifier alone, which `backward` asks for the gradient that it would pass
        with torch.enable_grad():
            ctx.below = x.detach().requires_grad_()
            ctx.above = rectify(ctx.below)
        return ctx.above.detach()  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        # gradient is (n, ...) of the output; through is that of the input, by the rectifier's own rule
        (through,) = torch.autograd.grad(ctx.above, ctx.below, gradient)
        # (n, 1, ...) which images get no gradient at all
        stopped = ~through.flatten(1).any(1).view(-1, *[1] * (through.dim() - 1))
        # A descent moves against the gradient, so that its negative part is what raises the unit.
        return torch.where(stopped, gradient.clamp_max(0), through), None
