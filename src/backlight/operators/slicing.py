"""Parts and copies: entries that are picked, moved or repeated along a dimension."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, fx

from backlight.operators.fields import mixing, named_dims, of_one_signal, unchanged
from backlight.operators.kinds import linear_in_first
from backlight.operators.operator import Field, Operator, Origin, examples_of, named
from backlight.operators.reading import arguments, aten, sizes_of
from backlight.operators.spread import Spread, Spreads, Window


def _selection(node: fx.Node, spread: Spread) -> Spreads:
    """The same place; the whole image along the dimension that it drops."""
    # (n, c, h, w)[:, :, 3] -> (n, c, w): with the dimension goes its role, so no index tells its pixels any more.
    (dropped,) = named_dims(node, len(spread.roles))
    one = spread.with_roles(role for d, role in enumerate(spread.roles) if d != dropped)
    value = node.meta["val"]  # of `unbind` one tensor for each place, all of them alike
    return (one,) * len(value) if isinstance(value, (tuple, list)) else one


def _slicing(node: fx.Node, spread: Spread) -> Spread:
    """What the operand sees in the place that the entry was taken from."""
    given = arguments(node)
    dim, start, step = given["dim"], given["start"] or 0, given["step"]
    if not (isinstance(start, int) and isinstance(step, int)):  # symbolic, of the batch's size
        return spread.mixed([dim])
    # As Python slices: from the end if negative, and clipped. Index i is the operand's index start + i * step.
    size = sizes_of(node.args[0])[dim]
    start = max(start + size, 0) if start < 0 else min(start, size)
    return spread.windowed(dim, Window(step, start, start))


def _windows_apart(node: fx.Node, spread: Spread) -> Spread:
    """What the window covers there; its cells stand in a new last dimension."""
    # (..., h, ...) -> (..., windows, ..., size): window i holds the cells i * step to i * step + size - 1.
    given = arguments(node)
    spread = spread.windowed(given["dimension"], Window(given["step"], 0, given["size"] - 1))
    return spread.with_roles((*spread.roles, "c"))


def _repetition(node: fx.Node, spread: Spread) -> Spread:
    """The whole image along the dimensions that it repeats; along the others the same place."""
    # Whole copies one behind the other, [a b] -> [a b a b]: index i is index i % size, which no stride describes. Where
    # there are more counts than dimensions, new dimensions come first.
    times: Any = node.args[1]
    spread = spread.with_roles([""] * (len(times) - len(spread.roles)) + list(spread.roles))
    return spread.mixed(d for d, n_times in enumerate(times) if n_times != 1)


def _repetition_in_place(node: fx.Node, spread: Spread) -> Spread:
    """What the original of the copy sees; copies stand beside it, as in an upsampling by whole numbers."""
    times, dim = node.args[1], arguments(node).get("dim")
    # Each entry as often as a tensor says, or all of them flattened into one row: no dimension is left to follow.
    if not isinstance(times, int) or dim is None:
        return spread.with_roles("" for _ in sizes_of(node))
    # [a b] -> [a a b b]: index i is floor(i / times), at most 1 - 1 / times below i / times.
    return spread.windowed(dim, Window(Fraction(1, times), Fraction(1, times) - 1, 0))


def _part(names: str, *functions: Callable[[Tensor], Tensor], field: Field | None = None) -> Operator:
    return Operator(
        named(names),
        kind=linear_in_first,
        origin=Origin.ENTRIES,
        field=field,
        examples=examples_of(*functions),
    )


OPERATORS = (
    _part("select unbind", lambda x: x[:, :, 3], lambda x: x.unbind(1)[1], field=of_one_signal(_selection)),
    _part("slice", lambda x: x[:, :, 1:9:2], lambda x: x[:, 1:], field=of_one_signal(_slicing)),
    _part("unfold", lambda x: x.unfold(2, 3, 2).sum(-1), field=of_one_signal(_windows_apart)),
    _part("repeat", lambda x: x.repeat(1, 2, 1, 1), field=of_one_signal(_repetition)),
    _part(
        "repeat_interleave",
        lambda x: aten.repeat_interleave.self_int(x, 2, 2),
        field=of_one_signal(_repetition_in_place),
    ),
    _part("roll flip", lambda x: x.roll(1, 2), lambda x: x.flip(3), field=mixing),
    _part("tril triu", torch.tril, torch.triu, field=unchanged),
    _part("diagonal", lambda x: x.diagonal(0, 2, 3)),
    _part("narrow rot90 diag_embed as_strided tile"),
)
