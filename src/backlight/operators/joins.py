"""Joins and parts: several tensors that become one, one that becomes several, and one that is written into another."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import torch
from torch import fx

from backlight.operators import local
from backlight.operators.adjoint import Adjoint, Below, Walk
from backlight.operators.fields import cannot_be_told, named_dims, of_one_signal
from backlight.operators.kinds import linear_in_first
from backlight.operators.operator import Example, Operator, OperatorClass, Origin, Seen, named
from backlight.operators.reading import arguments, as_sizes, aten, options_of, packet, shape_of, sizes_of
from backlight.operators.spread import Spread, Spreads, Window, joined
from backlight.operators.windows import Windows, in_order

# --- fields ---------------------------------------------------------------------------------------------------


def _join(seen: Seen) -> Spreads:
    """What any of the operands sees in the same place; the whole image along rows or columns that are joined."""
    dim, rank = arguments(seen.node)["dim"], len(sizes_of(seen.node))
    full = sizes_of(seen.node)[dim]
    # (n, c, 3, w) and (n, c, 5, w) joined along the rows: row 4 of the result is row 1 of the second. Which rows of the
    # pixels that is depends on the part, so only an operand that is the whole of the result stays in its place.
    moved = [n for n in seen.signals if len(sizes_of(n)) == rank and sizes_of(n)[dim] != full]
    return _union(seen, [s.mixed([dim]) if n in moved else s for n, s in seen.signals.items()])


def _stack(seen: Seen) -> Spreads:
    """What any of the operands sees in the same place; the new dimension counts as channels."""
    dim = arguments(seen.node)["dim"] % len(sizes_of(seen.node))
    spreads = [s.with_roles((*s.roles[:dim], "c", *s.roles[dim:])) for s in seen.signals.values()]
    return _union(seen, spreads)


def _union(seen: Seen, spreads: Sequence[Spread]) -> Spreads:
    rank = len(sizes_of(seen.node))
    fits = all(len(s.roles) == rank for s in spreads)
    return joined(spreads) if fits else cannot_be_told(seen.node, spreads)


def _split(node: fx.Node, spread: Spread) -> Spreads:
    """What the operand sees in the place that the part was cut from."""
    (dim,), start, parts = named_dims(node, len(spread.roles)), 0, []
    # Index i of a part is index start + i of the operand, where start is the length of the parts before it.
    for part in node.meta["val"]:
        parts.append(spread.windowed(dim, Window(1, start, start)))
        start += as_sizes(part)[dim]
    return tuple(parts)


def _scatter(seen: Seen) -> Spreads:
    """What either operand sees: the one written to in the same place, the written one where it was put."""
    node = seen.node
    below, source = (seen.signals.get(n) for n in node.args[:2])  # type: ignore[arg-type]
    if source is None:  # a constant is written: its places lose the signal, none of the others moves
        return below or cannot_be_told(node, ())
    given, rank = arguments(node), len(sizes_of(node))
    dim = given["dim"] % rank
    if packet(node) is aten.select_scatter:  # the source has no such dimension: it is one place of it
        written = replace(source, roles=(*source.roles[:dim], "", *source.roles[dim:]))
    else:
        start, step, size = given["start"] or 0, given["step"], sizes_of(node)[dim]
        if isinstance(start, int) and isinstance(step, int):
            # Written index start + k * step shows the source's index k: k = (i - start) / step.
            start = max(start + size, 0) if start < 0 else start
            place = Fraction(-start, step)  # what lies between two places written to sees nothing
            written = source.windowed(dim, Window(Fraction(1, step), place, place))
        else:
            written = source.mixed([dim])
    return written if below is None else joined([below, written])


# --- the backward pass ----------------------------------------------------------------------------------------


def _take_apart(node: fx.Node, signal: Windows, walk: Walk) -> Below:
    """Give each of the joined tensors its part of the signal."""
    (bundle, dim), shape = _bundle(node), walk.record.shapes[node]
    # Windows along the joined dimension would cut across the parts.
    signal, first = signal.along(dim, shape), 0
    for below in bundle:
        size = walk.sizes(below)[dim]  # constants take up their length too
        if below in walk.below[node]:
            yield below, signal.with_data(in_order(signal.data.narrow(dim, first, size)), fresh=False)
        first += size


def _put_together(node: fx.Node, signals: dict[int, Windows], walk: Walk) -> Below:
    """Join the signals of the parts; a part that none arrived at has zeros."""
    (below, dim), shapes = _bundle(node), walk.record.shapes[node]
    parts = {i: s.along(dim, shapes[i]) for i, s in signals.items()}
    first = next(iter(parts.values()))
    # Parts can be joined only on the same windows; else each is laid out on its whole map.
    if not all(part.lies_as(first) for part in parts.values()):
        parts = {i: s.whole(shapes[i]) for i, s in parts.items()}
        first = next(iter(parts.values()))
    sizes = list(first.data.shape)
    pieces = []
    for i, shape in enumerate(shapes):  # the part's length along dim, the windows' sizes along the others
        sizes[dim] = shape[dim]
        pieces.append(parts[i].data if i in parts else first.data.new_zeros(sizes))
    yield below, first.with_data(in_order(torch.cat(pieces, dim)))


def _bundle(node: fx.Node) -> tuple[Any, int]:
    """Return what is joined or taken apart, and along which dimension, counted from the first."""
    options = {"dim": 0} | options_of(node, node.args, node.kwargs)
    value = node.args[0]
    rank = len((shape_of(value[0] if isinstance(value, (list, tuple)) else value)) or ())  # type: ignore[arg-type]
    return value, options["dim"] % rank


def _beside_positions(node: fx.Node, roles: tuple[str, ...], constants: Sequence[fx.Node]) -> bool:
    """Local, unless rows or columns are split, at sizes that would not fit a crop."""
    dim = ({"dim": 0} | options_of(node, node.args, node.kwargs))["dim"]
    return roles[dim] not in local.POSITIONS


# --- the entries ----------------------------------------------------------------------------------------------

_SPLIT = Operator(
    named("split chunk"),
    kind=linear_in_first,
    origin=Origin.ENTRIES,
    field=of_one_signal(_split),
    adjoint=Adjoint(_put_together),
    is_local=_beside_positions,
    examples=(Example(lambda x: torch.split(x, 2, 1)[0]), Example(lambda x: x.chunk(3, 1)[2])),
)

OPERATORS = (
    Operator(
        ("cat",),
        kind=OperatorClass.LINEAR,
        origin=Origin.MIXTURES,
        field=_join,
        adjoint=Adjoint(_take_apart),
        is_local=local.cell_by_cell,
        examples=(Example(lambda x: torch.cat([x, x * 2], 1)), Example(lambda x: torch.cat([x, x * 2], 2))),
    ),
    Operator(
        ("stack",),
        kind=OperatorClass.LINEAR,
        origin=Origin.MIXTURES,
        field=_stack,
        examples=(Example(lambda x: torch.stack([x, x * 2], 1).flatten(1, 2)),),
    ),
    Operator(
        named("hstack vstack dstack column_stack"),
        kind=OperatorClass.LINEAR,
        origin=Origin.MIXTURES,
        examples=(Example(lambda x: torch.ops.aten.hstack.default([x, x * 2])),),
    ),
    Operator(
        named("slice_scatter select_scatter"),
        kind=OperatorClass.LINEAR,
        origin=Origin.MIXTURES,
        field=_scatter,
        examples=(
            Example(lambda x: aten.slice_scatter.default(x, x[:, :, :3] * 2, 2, 1, 7, 2)),
            Example(lambda x: aten.select_scatter.default(x, x[:, :, 0] * 2, 2, 3)),
        ),
    ),
    _SPLIT,
    replace(
        _SPLIT,
        names=("split_with_sizes",),
        is_local=None,
        examples=(Example(lambda x: aten.split_with_sizes.default(x, [1, 2], 1)[1]),),
    ),
    Operator(
        (operator.getitem,),
        kind=OperatorClass.LINEAR,
        origin=Origin.ENTRIES,
        is_local=local.cell_by_cell,
        examples=(Example(lambda x: x.chunk(3, 1)[1]),),
    ),
)
