"""Pooling: switches on the way down, and the two readings of average pooling.

*Source*: Zeiler & Fergus (2013) 2.1 (unpooling with switches); docs/rules.md (overlapping windows, averages).
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, fx

from backlight.operators.carry import carry
from backlight.operators.paths import aten, options_of, packet
from backlight.operators.ruleset import RuleSet

_POOLS = {  # with switches, and the number of dimensions that the switches run over
    aten.max_pool1d: (aten.max_pool1d_with_indices, 1),
    aten.max_pool2d: (aten.max_pool2d_with_indices, 2),
    aten.max_pool2d_with_indices: (aten.max_pool2d_with_indices, 2),
    aten.max_pool3d: (aten.max_pool3d_with_indices, 3),
    aten.max_pool3d_with_indices: (aten.max_pool3d_with_indices, 3),
    aten.adaptive_max_pool1d: (aten.adaptive_max_pool1d, 1),
    aten.adaptive_max_pool2d: (aten.adaptive_max_pool2d, 2),
    aten.adaptive_max_pool3d: (aten.adaptive_max_pool3d, 3),
}


class _Assign(torch.autograd.Function):
    """Forward: the pooled values. Backward: one of the windows that chose a place wins it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor, switches: Tensor, rank: int, largest: bool) -> Tensor:
        ctx.save_for_backward(switches)
        ctx.shape, ctx.rank, ctx.choose = x.shape, rank, _largest if largest else _last
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *signal: Tensor) -> tuple[Tensor, None, None, None, None]:
        places = ctx.saved_tensors[0].flatten(-ctx.rank)
        below = ctx.choose(signal[0].flatten(-ctx.rank), places, prod(ctx.shape[-ctx.rank :]))
        return below.reshape(ctx.shape), None, None, None, None


def _largest(values: Tensor, places: Tensor, cells: int) -> Tensor:
    """Return for each place the value of largest magnitude; of +a and -a the positive one."""
    empty = values.new_zeros(*values.shape[:-1], cells)
    top = empty.scatter_reduce(-1, places, values.abs(), "amax")
    positive = empty.scatter_reduce(-1, places, values, "amax")
    return torch.where(positive == top, positive, -top)


def _last(values: Tensor, places: Tensor, cells: int) -> Tensor:
    """Return for each place the value of the last window, in raster order, that chose it."""
    order = torch.arange(1, values.shape[-1] + 1, device=values.device).expand_as(places)
    last = places.new_zeros(*values.shape[:-1], cells).scatter_reduce(-1, places, order, "amax")
    padded = torch.nn.functional.pad(values, (1, 0))
    return padded.gather(-1, last)


def assign_pool(x: Tensor, pool: Any, options: dict[str, Any], largest: bool) -> tuple[Tensor, Tensor]:
    """Return max pooling of x, and its switches, that unpools by assignment.

    Args:
        x: The maps below.
        pool: The overload of the ATen operator.
        options: What the operator takes besides x.
        largest: True for the largest magnitude, False for the last window in raster order.
    """
    with_switches, rank = _POOLS[pool.overloadpacket]
    value, switches = with_switches(x.detach(), **options)
    return _Assign.apply(x, value, switches, rank, largest), switches


def fill_pool(x: Tensor, **options: Any) -> Tensor:
    """Return average pooling of x whose unpooling copies a value to every position of its window."""
    average = aten.avg_pool2d.default(x.detach(), **options)
    return carry(aten.avg_pool2d.default(x, **options | {"divisor_override": 1}), average)


def fill_adaptive_pool(x: Tensor, output_size: list[int]) -> Tensor:
    """Return adaptive average pooling of x whose unpooling copies a value to every position of its window."""
    average = aten.adaptive_avg_pool2d.default(x, output_size)
    counts = [
        torch.tensor(
            [-(-(i + 1) * size // n) - i * size // n for i in range(n)], device=x.device, dtype=x.dtype
        )
        for size, n in zip(x.shape[-2:], output_size, strict=True)
    ]
    return carry(average * counts[0][:, None] * counts[1], average)


def fill_mean(x: Tensor, dims: list[int], keepdim: bool = False, dtype: torch.dtype | None = None) -> Tensor:
    """Return the mean of x over dims, whose unpooling copies the value to every position."""
    return carry(x.sum(dims, keepdim, dtype=dtype), x.detach().mean(dims, keepdim, dtype=dtype))


def select_extreme(x: Tensor, dims: Sequence[int], keepdim: bool, largest: bool) -> Tensor:
    """Return the maximum or minimum of x over dims; the signal goes to its first place in raster order."""
    dims = sorted(d % x.dim() for d in (dims or range(x.dim())))
    kept = [d for d in range(x.dim()) if d not in dims]
    flat = x.permute(*kept, *dims).flatten(len(kept))
    place = flat.argmax(-1, keepdim=True) if largest else flat.argmin(-1, keepdim=True)
    value = flat.gather(-1, place).squeeze(-1)
    for d in dims if keepdim else ():
        value = value.unsqueeze(d)
    return value


def select_of_two(left: Tensor, right: Tensor, largest: bool) -> Tensor:
    """Return the maximum or minimum of two signals; where they are equal, the left one is the switch."""
    return torch.where(left >= right if largest else left <= right, left, right)


def replace_selector(
    graph: fx.Graph, node: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any], rules: RuleSet
) -> fx.Node | None:
    """Return a max pool or extreme whose recorded switch is one place, unpooled as the rules say.

    *Convention*: ties in a window record the first place in raster order, as torch's pooling does.
    """
    target = packet(node)
    if target in _POOLS and rules.unpool != "add":
        pool: Any = node.target
        pool_args = args[0], pool, options_of(node, args, kwargs), rules.unpool == "assign-largest"
        pair = graph.call_function(assign_pool, pool_args)
        returns_pair = isinstance(node.meta.get("val"), (tuple, list))
        return pair if returns_pair else graph.call_function(operator.getitem, (pair, 0))
    largest = target in (aten.amax, aten.max, aten.maximum)
    if target in (aten.amax, aten.amin):
        options: dict[str, Any] = {"dim": [], "keepdim": False} | options_of(node, args, kwargs)
        return graph.call_function(select_extreme, (args[0], options["dim"], options["keepdim"], largest))
    if target in (aten.max, aten.min) and len(args) == 1:
        return graph.call_function(select_extreme, (args[0], [], False, largest))
    if target in (aten.maximum, aten.minimum) or (
        target in (aten.max, aten.min) and isinstance(args[1], fx.Node)
    ):
        return graph.call_function(select_of_two, (*args, largest))
    return None


def replace_average(
    graph: fx.Graph, node: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any], spatial: tuple[int, ...]
) -> fx.Node | None:
    """Return an average pool that fills on the way down; None for averages that are no spatial pooling.

    Args:
        graph: The graph that is being built.
        node: The average in the captured graph.
        args: Its arguments in the new graph.
        kwargs: Its keyword arguments in the new graph.
        spatial: The dimensions of the node's input that are rows and columns.
    """
    target = packet(node)
    if target is aten.avg_pool2d:
        return graph.call_function(fill_pool, args[:1], options_of(node, args, kwargs))
    if target is aten.adaptive_avg_pool2d:
        return graph.call_function(fill_adaptive_pool, args)
    if target is aten.mean:
        options = {"dim": None} | options_of(node, args, kwargs)
        rank = len(node.args[0].meta["val"].shape)  # type: ignore[union-attr]
        if options["dim"] and {d % rank for d in options["dim"]} <= set(spatial):
            return graph.call_function(fill_mean, (args[0], options.pop("dim")), options)
    return None
