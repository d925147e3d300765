"""Averages: pools that fill in the backward pass, as unpooling does, or pass each position its share.

*Source*: docs/rules.md (the two readings of average pooling).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from backlight.operators import local
from backlight.operators.adjoint import Adjoint, Below, Walk
from backlight.operators.carry import carry
from backlight.operators.convolution import is_over_images, moved, on_maps
from backlight.operators.fields import of_one_signal, reduction
from backlight.operators.kinds import linear_in_first
from backlight.operators.operator import Example, Operator, Origin, Rewriting
from backlight.operators.pooling import adapt, in_a_row, pool_options, slide_pool
from backlight.operators.reading import aten, options_of, shape_of
from backlight.operators.windows import Windows, in_order


def fill_pool(x: Tensor, **options: Any) -> Tensor:
    """Return average pooling of x whose unpooling copies a value to every position of its window."""
    # The value is the average; the signal takes the way of the sum, whose derivative is 1 at every position. A divisor
    # of 1 makes the average a sum, whether or not padding counts.
    average = aten.avg_pool2d.default(x.detach(), **options)
    return carry(aten.avg_pool2d.default(x, **options | {"divisor_override": 1}), average)


def fill_adaptive_pool(x: Tensor, output_size: list[int]) -> Tensor:
    """Return adaptive average pooling of x whose unpooling copies a value to every position of its window."""
    average = aten.adaptive_avg_pool2d.default(x, output_size)
    # Window i holds the rows floor(i * h / n) to ceil((i + 1) * h / n): counts of rows (n,) times those of columns
    # (m,) make an average a sum. -(-a // b) rounds up. Windows of unequal size: of 8 rows, 3 windows hold 3, 4 and 3.
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


def _fill_windows(at: Rewriting) -> fx.Node | None:
    """Copy the value to every position of its window (`average_pool=fill`)."""
    if at.rules.average_pool != "fill":
        return None
    return at.call(fill_pool, at.args[0], **options_of(at.node, at.args, at.kwargs))


def _fill_sized_windows(at: Rewriting) -> fx.Node | None:
    """Copy the value to every position of its window (`average_pool=fill`)."""
    return at.call(fill_adaptive_pool, *at.args) if at.rules.average_pool == "fill" else None


def _fill_positions(at: Rewriting) -> fx.Node | None:
    """Copy the value to every position (`average_pool=fill`), if it averages over rows and columns alone."""
    options = {"dim": None} | options_of(at.node, at.args, at.kwargs)
    below: Any = at.node.args[0]
    rank, spread = len(shape_of(below) or ()), below.meta.get("spread")
    # A mean over channels, or over more than rows and columns, mixes maps and is no pooling: it keeps its derivative.
    positions = {d for d, role in enumerate(spread.roles) if role in ("h", "w", "hw")} if spread else set()
    is_pooling = options["dim"] and {d % rank for d in options["dim"]} <= positions
    if at.rules.average_pool != "fill" or not is_pooling:
        return None
    return at.call(fill_mean, at.args[0], options.pop("dim"), **options)


def _fill(node: fx.Node, signal: Windows, walk: Walk) -> Below:
    """Unpool an average by copying each value to all of its window; values for one place are added."""
    below: Any = node.args[0]
    options, shape = pool_options(node), walk.record.shapes[below]
    signal = on_maps(signal, node, walk)
    n_maps, signal = signal.data.shape[1], signal if signal.axes else signal.on_axes((2, 3))
    # A transposed convolution of each map by itself with weights of one: (c, 1, kh, kw). It cuts off no padding: its
    # windows begin in the padding, and `inside` clears what lies over an edge, a last window that overhangs too.
    ones = signal.data.new_ones(n_maps, 1, *options["kernel_size"])
    data = F.conv_transpose2d(in_order(signal.data), ones, None, options["stride"], groups=n_maps)
    axes = moved(signal.axes, options["stride"], options["padding"])
    yield below, Windows(data, axes).inside(shape)


_AVERAGE_POOL = Operator(
    ("avg_pool2d",),
    kind=linear_in_first,
    origin=Origin.ENTRIES,
    field=of_one_signal(slide_pool),
    gives_maps=True,
    rule=_fill_windows,
    is_local=local.cell_by_cell,
    examples=(
        Example(lambda x: F.avg_pool2d(x, 3, 2, 1)),
        Example(lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)),
    ),
)

_ADAPTIVE_AVERAGE_POOL = replace(
    _AVERAGE_POOL,
    names=("adaptive_avg_pool2d",),
    field=of_one_signal(adapt),
    rule=_fill_sized_windows,
    is_local=None,
    examples=(Example(lambda x: F.adaptive_avg_pool2d(x, (5, 4))),),
)

OPERATORS = (
    _AVERAGE_POOL,
    in_a_row(_AVERAGE_POOL, "avg_pool1d", lambda x: F.avg_pool1d(x[:, :, 0], 3, 2), rule=None),
    in_a_row(_AVERAGE_POOL, "avg_pool3d", lambda x: F.avg_pool3d(x[:, None], (1, 2, 2)), rule=None),
    _ADAPTIVE_AVERAGE_POOL,
    in_a_row(
        _ADAPTIVE_AVERAGE_POOL,
        "adaptive_avg_pool1d",
        lambda x: F.adaptive_avg_pool1d(x[:, :, 0], 5),
        rule=None,
    ),
    in_a_row(
        _ADAPTIVE_AVERAGE_POOL,
        "adaptive_avg_pool3d",
        lambda x: F.adaptive_avg_pool3d(x[:, None], (1, 4, 4)),
        rule=None,
        field=None,
    ),
    Operator(
        ("mean",),
        kind=linear_in_first,
        origin=Origin.MIXTURES,
        field=reduction,
        rule=_fill_positions,
        examples=(Example(lambda x: x.mean((2, 3))), Example(lambda x: x.mean(1, keepdim=True))),
    ),
    Operator(
        ("sum",),
        kind=linear_in_first,
        origin=Origin.MIXTURES,
        field=reduction,
        examples=(Example(lambda x: x.sum((2, 3))), Example(lambda x: x.sum(1))),
    ),
    Operator((fill_pool,), adjoint=Adjoint(_fill, fits=is_over_images)),
)
