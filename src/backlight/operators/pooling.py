"""Pooling: max pools, whose switches are recorded and held fixed.

*Source*: Zeiler & Fergus (2013) 2.1 (unpooling with switches); docs/rules.md (overlapping windows).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from backlight.operators import local
from backlight.operators.adjoint import ON_WHOLE_MAPS, Adjoint, Below, Record, Walk
from backlight.operators.convolution import is_over_images, kernel_windows, moved, on_maps
from backlight.operators.fields import of_one_signal
from backlight.operators.operator import Example, Operator, OperatorClass, Rewriting
from backlight.operators.reading import (
    arguments,
    as_list,
    aten,
    operator_name,
    options_of,
    sizes_of,
)
from backlight.operators.spread import Spread, Window, slide
from backlight.operators.windows import Axes, Windows, in_order

_WITH_SWITCHES = {  # the operator that gives the switches too, and the number of dimensions that they run over
    aten.max_pool1d: (aten.max_pool1d_with_indices, 1),
    aten.max_pool2d: (aten.max_pool2d_with_indices, 2),
    aten.max_pool2d_with_indices: (aten.max_pool2d_with_indices, 2),
    aten.max_pool3d: (aten.max_pool3d_with_indices, 3),
    aten.max_pool3d_with_indices: (aten.max_pool3d_with_indices, 3),
    aten.adaptive_max_pool1d: (aten.adaptive_max_pool1d, 1),
    aten.adaptive_max_pool2d: (aten.adaptive_max_pool2d, 2),
    aten.adaptive_max_pool3d: (aten.adaptive_max_pool3d, 3),
}


# --- rules ----------------------------------------------------------------------------------------------------


class _Assign(torch.autograd.Function):
    """Forward: the pooled values. Backward: one of the windows that chose a place wins it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor, switches: Tensor, rank: int, largest: bool) -> Tensor:
        ctx.save_for_backward(switches)
        ctx.shape, ctx.rank, ctx.choose = x.shape, rank, _largest if largest else _last
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *signal: Tensor) -> tuple[Tensor, None, None, None, None]:
        # (n, c, h', w') -> (n, c, windows), for a rank of 2. A switch is a place in its own map, read row by row, so
        # each map of h * w cells is handled as one row of them.
        places = ctx.saved_tensors[0].flatten(-ctx.rank)
        below = ctx.choose(signal[0].flatten(-ctx.rank), places, prod(ctx.shape[-ctx.rank :]))
        return below.reshape(ctx.shape), None, None, None, None


def _largest(values: Tensor, places: Tensor, cells: int) -> Tensor:
    """Return for each place the value of largest magnitude; of +a and -a the positive one."""
    # values and places (..., windows) are scattered over (..., cells); where the largest magnitude is that of the
    # largest value, that one is positive, else it is -magnitude. The zeros of `empty` take part in both maxima, so a
    # cell that no window chose stays zero.
    empty = values.new_zeros(*values.shape[:-1], cells)
    top = empty.scatter_reduce(-1, places, values.abs(), "amax")
    positive = empty.scatter_reduce(-1, places, values, "amax")
    return torch.where(positive == top, positive, -top)


def _last(values: Tensor, places: Tensor, cells: int) -> Tensor:
    """Return for each place the value of the last window, in raster order, that chose it."""
    # Windows are numbered from 1, so that a cell that no window chose reads the 0 in front of the padded values.
    order = torch.arange(1, values.shape[-1] + 1, device=values.device).expand_as(places)
    # (..., cells): the number of the last window that chose each cell
    last = places.new_zeros(*values.shape[:-1], cells).scatter_reduce(-1, places, order, "amax")
    padded = F.pad(values, (1, 0))  # (..., 1 + windows)
    return padded.gather(-1, last)


def assign_pool(x: Tensor, pool: Any, options: dict[str, Any], largest: bool) -> tuple[Tensor, Tensor]:
    """Return max pooling of x, and its switches, that unpools by assignment.

    Args:
        x: The maps below.
        pool: The overload of the ATen operator.
        options: What the operator takes besides x.
        largest: True for the largest magnitude, False for the last window in raster order.
    """
    with_switches, rank = _WITH_SWITCHES[pool.overloadpacket]
    value, switches = with_switches(x.detach(), **options)  # no gradient of torch's own: it would add
    return _Assign.apply(x, value, switches, rank, largest), switches


def _unpool_by_assignment(at: Rewriting) -> fx.Node | None:
    """Send the value to its recorded switch; values for one place add up, or one wins, by the option `unpool`.

    *Convention*: ties in a window record the first place in raster order, as torch's pooling does.
    """
    if at.rules.unpool == "add":
        return None  # torch's derivative adds, as does `_unpool`
    options, largest = options_of(at.node, at.args, at.kwargs), at.rules.unpool == "assign-largest"
    pair = at.call(assign_pool, at.args[0], at.node.target, options, largest)
    # `max_pool2d_with_indices` is read by getitem nodes, which stay; `max_pool2d` is the value itself.
    returns_pair = isinstance(at.node.meta.get("val"), (tuple, list))
    return pair if returns_pair else at.call(operator.getitem, pair, 0)


# --- fields ---------------------------------------------------------------------------------------------------


def n_axes(node: fx.Node) -> int:
    """Return along how many axes an operator slides by its name: 2 for `avg_pool2d`."""
    return next(int(letter) for letter in operator_name(node) if letter.isdigit())


def slide_pool(node: fx.Node, spread: Spread) -> Spread:
    """What the pool's window covers there, by stride, padding and dilation."""
    return slide(spread, kernel_windows(node, as_list(arguments(node)["kernel_size"], n_axes(node))))


def resized_axes(node: fx.Node) -> list[tuple[int, int, int]]:
    """Return each image axis of a resizing operator: its place, its size before and its size after."""
    before, after = sizes_of(node.args[0]), sizes_of(node)
    return [(place, before[place], after[place]) for place in range(-n_axes(node), 0)]


def adapt(node: fx.Node, spread: Spread) -> Spread:
    """What the window from floor(i * in / out) to ceil((i + 1) * in / out) covers; one alone, the whole image."""
    for place, before, after in resized_axes(node):
        # Rounding i * step to a whole number moves it by less than 1: by `remainder` at most, as i * step is a multiple
        # of 1 / denominator. The window's last entry is the one before its end, at (i + 1) * step - 1, rounded up.
        step = Fraction(before, after)
        remainder = 1 - Fraction(1, step.denominator)
        spread = spread.mixed([place]) if after == 1 < before else spread
        spread = spread.windowed(place, Window(step, -remainder, step - 1 + remainder))
    return spread


# --- the backward pass ----------------------------------------------------------------------------------------


def pool_options(node: fx.Node) -> dict[str, Any]:
    """Return kernel_size, stride, padding, dilation (each a pair) and ceil_mode of a two-dimensional pool."""
    given: dict[str, Any] = {"padding": 0, "dilation": 1, "ceil_mode": False}
    is_aten = hasattr(node.target, "_schema")  # else a rule has put it there, its options by name
    given |= options_of(node, node.args, node.kwargs) if is_aten else node.kwargs
    given["stride"] = given.get("stride") or given["kernel_size"]  # left out: None, or [] in a graph
    pairs = {k: as_list(given[k], 2) for k in ("kernel_size", "stride", "padding", "dilation")}
    return pairs | {"ceil_mode": given["ceil_mode"]}


def _record_switches(node: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any], record: Record) -> Any:
    if node not in record.live:  # no signal comes this way: nobody will ask for the switches
        return aten.max_pool2d.default(*args, **kwargs)
    value, record.switches[node] = aten.max_pool2d_with_indices.default(*args, **kwargs)
    return value


def _unpool(node: fx.Node, signal: Windows, walk: Walk) -> Below:
    """Unpool by the switches: each value goes to the place that was recorded; values for one place are added."""
    below: Any = node.args[0]
    options, shape = pool_options(node), walk.record.shapes[below]
    signal = on_maps(signal, node, walk)
    stride, kernel, dilation = options["stride"], options["kernel_size"], options["dilation"]
    # (n, c, h, w): for each unit the switches in its window, each a place row * width + column of the map below.
    switches = signal.of(walk.record.switches[node], walk.image_of)
    n, c, *sizes = signal.data.shape
    if signal.covers(walk.record.shapes[node]):
        # Whole maps: the switches are places of the map below already, and torch knows the padding itself.
        axes, padding, sizes = signal.axes, options["padding"], list(shape[2:])
    else:
        # The window below holds all cells that the pool's windows read; padding only moves where it begins.
        axes, padding = moved(signal.axes, stride, options["padding"]), [0, 0]
        sizes = [(sizes[i] - 1) * stride[i] + dilation[i] * (kernel[i] - 1) + 1 for i in (0, 1)]
        switches = _within(switches, axes, shape[3], sizes)
    # torch reads only the sizes and the memory order of the map that was pooled, so an empty one does.
    like = torch.empty(
        (n, c, *sizes), device=switches.device, dtype=signal.data.dtype, memory_format=torch.channels_last
    )
    data = aten.max_pool2d_with_indices_backward.default(
        in_order(signal.data),
        like,
        kernel,
        stride,
        padding,
        dilation,
        options["ceil_mode"],
        in_order(switches),
    )
    yield below, Windows(data, axes).inside(shape)


def _within(switches: Tensor, axes: Axes, width: int, sizes: Sequence[int]) -> Tensor:
    """Return switches, places row * width + column of a map, as places of windows of those sizes.

    With the window's first cell (top, left) and its width v, the place is (row - top) * v + column - left, which is
    row * (v - width) + (row * width + column) - (top * v + left).
    """
    # (n,) top * v + left of each window. The places (n, c, kh', kw') are worked out in one new tensor, step by step in
    # place: they are as many as the signal's values, and of int64.
    corner = torch.from_numpy(axes[0][1] * sizes[1] + axes[1][1]).to(switches.device)
    places = switches.div(width, rounding_mode="floor") * (sizes[1] - width)
    places += switches
    places -= corner[:, None, None, None]
    return places.clamp_(0, sizes[0] * sizes[1] - 1)  # what is over an edge has any place, and no signal


# --- the entries ----------------------------------------------------------------------------------------------

_MAX_POOL = Operator(
    ("max_pool2d",),
    kind=OperatorClass.SELECTOR,
    field=of_one_signal(slide_pool),
    gives_maps=True,
    rule=_unpool_by_assignment,
    adjoint=Adjoint(_unpool, fits=is_over_images, forward=_record_switches),
    is_local=local.cell_by_cell,
    examples=(
        Example(lambda x: F.max_pool2d(x, 3, 2, 1)),
        Example(lambda x: F.max_pool2d(x, 2, (1, 2), dilation=(2, 1), ceil_mode=True)),
    ),
)

_ADAPTIVE_MAX_POOL = replace(
    _MAX_POOL,
    names=("adaptive_max_pool2d",),
    field=of_one_signal(adapt),
    adjoint=ON_WHOLE_MAPS,
    is_local=None,
    examples=(Example(lambda x: F.adaptive_max_pool2d(x, (5, 4))),),
)


def in_a_row(entry: Operator, name: str, function: Callable[[Tensor], Tensor], **more: Any) -> Operator:
    """Return the entry of a pool over one or three dimensions."""
    changes: dict[str, Any] = {
        "gives_maps": False,
        "adjoint": ON_WHOLE_MAPS,
        "examples": (Example(function),),
    }
    return replace(entry, names=(name,), **changes | more)


OPERATORS = (
    _MAX_POOL,
    replace(
        _MAX_POOL,
        names=("max_pool2d_with_indices",),
        adjoint=ON_WHOLE_MAPS,
        examples=(Example(lambda x: aten.max_pool2d_with_indices.default(x, [3, 3], [2, 2], [1, 1])[0]),),
    ),
    in_a_row(_MAX_POOL, "max_pool1d", lambda x: F.max_pool1d(x[:, :, 0], 3, 2)),
    in_a_row(_MAX_POOL, "max_pool3d", lambda x: F.max_pool3d(x[:, None], (1, 2, 2))),
    in_a_row(
        _MAX_POOL,
        "max_pool3d_with_indices",
        lambda x: aten.max_pool3d_with_indices.default(x[:, None], [1, 2, 2])[0],
        field=None,
    ),
    _ADAPTIVE_MAX_POOL,
    in_a_row(_ADAPTIVE_MAX_POOL, "adaptive_max_pool1d", lambda x: F.adaptive_max_pool1d(x[:, :, 0], 5)),
    in_a_row(
        _ADAPTIVE_MAX_POOL,
        "adaptive_max_pool3d",
        lambda x: F.adaptive_max_pool3d(x[:, None], (1, 4, 4)),
        field=None,
    ),
)
