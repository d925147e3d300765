"""Checks for the coverage benchmark: a captured network against its model and automatic differentiation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from backlight import GRADIENT, project
from backlight.network import Layer, Network
from backlight.projection.units import strongest_units

_EQUAL = 1e-3  # of the largest value: deep networks of random weights in float32
_MOST_FIELDS = 4


def same_answer(net: Network, model: nn.Module, image: Tensor) -> str:
    """Return `yes` if the captured network returns what the model returns, else how far it is off."""
    with torch.no_grad():
        theirs, ours = (list(_tensors(answer)) for answer in (model.eval()(image), net(image)))
    if len(theirs) != len(ours):
        return f"{len(ours)} tensors for {len(theirs)}"
    return _verdict(max((_error(a, b) for a, b in zip(ours, theirs, strict=True)), default=0.0))


def same_gradient(net: Network, image: Tensor, layer: Layer) -> str:
    """Return `yes` if the projection by GRADIENT is the unit's gradient times its value, else how far it is off."""
    (unit,) = strongest_units(net, image, layer.name, 1)
    got = project(net, image, [unit], GRADIENT)
    return _verdict(_error(got, _gradient(net, image, layer, unit.channel, unit.row, unit.col)))


def fields_hold(net: Network, image: Tensor) -> str:
    """Return `yes` if no unit's gradient leaves its receptive field, else the first layer where one does.

    Layers behind a gate are skipped, because their field deliberately ignores what the gate sees. Returns `none` if
    no layer is left.
    """
    own = [
        y for y in net.default_layers if y.receptive_field is not None and not y.receptive_field.gates_ignored
    ]
    step = max(len(own) // _MOST_FIELDS, 1)
    for layer in own[::step]:
        _, height, width = layer.shape
        row, col = height // 2, width // 3
        seen = _gradient(net, image, layer, layer.n_maps // 2, row, col)[0]
        box = layer.receptive_field.box(row, col).clip(*image.shape[2:])  # type: ignore[union-attr]
        seen[:, *box.slices()] = 0
        if seen.any():
            return f"not in {layer.name}"
    return "yes" if own else "none"


def _gradient(
    net: Network, image: Tensor, layer: Layer, channel: int, row: int | None, col: int | None
) -> Tensor:
    pixels = image.clone().requires_grad_()
    maps = net.features([layer])(pixels)[0]
    value = maps[0, channel] if row is None else maps[0, channel, row, col]
    (gradient,) = torch.autograd.grad(value, pixels, allow_unused=True)
    return torch.zeros_like(image) if gradient is None else gradient * value.detach()


def _tensors(answer: Any) -> Iterable[Tensor]:
    """Yield the floating-point tensors in an answer, including those nested in containers."""
    if isinstance(answer, Tensor):
        if answer.is_floating_point():
            yield answer
    elif isinstance(answer, dict):
        for value in answer.values():
            yield from _tensors(value)
    elif isinstance(answer, (list, tuple)):
        for value in answer:
            yield from _tensors(value)


def _error(got: Tensor, right: Tensor) -> float:
    if got.shape != right.shape:
        return float("inf")
    scale = float(right.abs().max()) or 1.0
    return float((got - right).abs().max()) / scale


def _verdict(error: float) -> str:
    return "yes" if error <= _EQUAL else f"off by {error:.1g}"
