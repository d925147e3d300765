"""The dimensions of a tensor inside a network: which are rows and columns, and which pixels they lead to.

*Convention*: rows and columns are followed apart, each with whole-number intervals that never miss a pixel.
Where a dimension stops being a row or a column of the image, that axis becomes None, the whole image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, floor, prod
from typing import Any

import torch
from torch import fx

from backlight.geometry import Axis
from backlight.operators.paths import operator_name

BATCH = 1_000_003
"""What stands for the symbolic batch size: a prime, so that no view can hide it among other sizes."""


@dataclass(frozen=True)
class Spread:
    """Where a node's tensor dimensions come from, and which pixels one of its entries can see.

    Attributes:
        roles: One for each dimension: "n" batch, "c" channels, "h" rows, "w" columns, "" mixed or none;
            "hw" and "nc" are two neighbours viewed as one, the right one counting fastest.
        rows: What an index along the "h" dimension sees; None is the whole height.
        cols: What an index along the "w" dimension sees; None is the whole width.
        gates_ignored: True where a factor below (a gate, attention weights, statistics of a normalisation)
            sees more than the signal that it scales.
        sees_all: True where every entry surely sees the whole image: a mean over all positions is in it.
        grids: Height and width behind each "hw" dimension; their products tell them apart.
    """

    roles: tuple[str, ...]
    rows: Axis | None
    cols: Axis | None
    gates_ignored: bool = False
    sees_all: bool = False
    grids: frozenset[tuple[int, int]] = frozenset()

    def with_roles(self, roles: Iterable[str]) -> Spread:
        """Return the spread under other roles; an axis that no single dimension carries becomes None."""
        roles = tuple(roles)
        carried = "".join(roles)
        rows = self.rows if carried.count("h") == 1 else None
        cols = self.cols if carried.count("w") == 1 else None
        return replace(self, roles=roles, rows=rows, cols=cols)

    def with_grid(self, grid: tuple[int, int]) -> Spread:
        """Return the spread of a tensor that gets an "hw" dimension of this height and width."""
        others = {other for other in self.grids if prod(other) != prod(grid)}
        return replace(self, grids=frozenset({grid, *others}))

    def averaged(self, dims: Iterable[int]) -> Spread:
        """Return the spread after all positions along these dimensions went into each."""
        dims = list(dims)
        carried = {self.roles[d] for d in dims}
        return replace(self.mixed(dims), sees_all=self.sees_all or {"h", "w"} <= carried)

    def mixed(self, dims: Iterable[int]) -> Spread:
        """Return the spread after positions along these dimensions were mixed."""
        carried = "".join(self.roles[d] for d in dims)
        rows = None if "h" in carried else self.rows
        return replace(self, rows=rows, cols=None if "w" in carried else self.cols)

    def windowed(self, dim: int, window: Window) -> Spread:
        """Return the spread after a window slid along one dimension."""
        match self.roles[dim]:
            case "h":
                return replace(self, rows=window.seen_through(self.rows))
            case "w":
                return replace(self, cols=window.seen_through(self.cols))
            case _:
                return self if window == Window() else self.mixed([dim])


@dataclass(frozen=True)
class Window:
    """Output index i reads the input indices from i * step + first to i * step + last, both included."""

    step: Fraction | int = 1
    first: Fraction | int = 0
    last: Fraction | int = 0

    def seen_through(self, axis: Axis | None) -> Axis | None:
        """Return what an output index sees, where an input index sees `axis`.

        Exact where the strides are whole numbers. Behind a fraction the bounds allow for every remainder that
        the rounding down of index * stride can leave, so the result contains what is seen.
        """
        if axis is None:
            return None
        stride = axis.stride * self.step
        low = ceil(self.first * axis.stride - 1 + Fraction(1, axis.stride.denominator))
        high = floor(self.last * axis.stride + 1 - Fraction(1, stride.denominator))
        return Axis(axis.size + high - low, stride, axis.offset + low)


Spreads = Spread | tuple[Spread, ...]  # a tuple: of the tensors that one operator returns together
Rule = Callable[[fx.Node, Spread], Spreads]
RULES: dict[Any, Rule] = {}


def rule(names: str) -> Callable[[Rule], Rule]:
    """Register the rule of the operators of these names: from the spread of their one signal to their own."""

    def register(function: Rule) -> Rule:
        aten = torch.ops.aten
        RULES.update({getattr(aten, name): function for name in names.split() if hasattr(aten, name)})
        return function

    return register


def arguments(node: fx.Node) -> dict[str, Any]:
    """Return the arguments of a node by the names in its operator's schema, defaults filled in."""
    schema: Any = node.target._schema  # type: ignore[union-attr]
    given = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
    return {**given, **dict(zip((a.name for a in schema.arguments), node.args, strict=False)), **node.kwargs}


def sizes_of(node: Any) -> tuple[int, ...]:
    """Return the shape of a node's (first) tensor in whole numbers, BATCH standing for the symbolic batch."""
    value = node.meta.get("val")
    return as_sizes(value[0] if isinstance(value, (tuple, list)) else value)


def as_sizes(value: Any) -> tuple[int, ...]:
    """Return the shape of a tensor in whole numbers; () where it is none."""
    shape = value.shape if isinstance(value, torch.Tensor) else ()
    return tuple(size if isinstance(size, int) else _evaluate(size.node.expr) for size in shape)


def _evaluate(expression: Any) -> int:
    return int(expression.subs(dict.fromkeys(expression.free_symbols, BATCH)))


def stretched(spread: Spread, sizes: Sequence[int], target: Sequence[int]) -> Spread:
    """Return the spread of a tensor of these sizes after it was broadcast to the target's."""
    lead = len(target) - len(sizes)
    roles = ("",) * lead + spread.roles
    sizes = (1,) * lead + tuple(sizes)
    return spread.with_roles(
        "" if before == 1 != after else role for role, before, after in zip(roles, sizes, target, strict=True)
    )


def joined(spreads: Sequence[Spread]) -> Spread:
    """Return the union of spreads of equal rank: whatever any of them sees.

    Along an axis the union is one interval where all strides are equal, else the whole image.

    *Convention*: two views of as many positions as rows and columns that differ (4 x 9 and 6 x 6) are neither.
    """
    roles = []
    for candidates in zip(*(s.roles for s in spreads), strict=True):
        named = set(candidates) - {""}
        if len(named) > 1:  # rows met columns, say: neither is what it was
            spreads = [s.mixed(d for d, role in enumerate(s.roles) if role in named) for s in spreads]
        roles.append(named.pop() if len(named) == 1 else "")
    grids = frozenset[tuple[int, int]]().union(*(s.grids for s in spreads))
    if len({prod(grid) for grid in grids}) < len(grids):
        roles, grids = ["" if role == "hw" else role for role in roles], frozenset()
    rows, cols = _union([s.rows for s in spreads]), _union([s.cols for s in spreads])
    ignored = any(s.gates_ignored for s in spreads)
    sees_all = any(s.sees_all for s in spreads)
    return Spread((), rows, cols, ignored, sees_all, grids).with_roles(roles)


def _union(axes: Sequence[Axis | None]) -> Axis | None:
    known = [axis for axis in axes if axis is not None]
    if len(known) < len(axes) or len({axis.stride for axis in known}) > 1:
        return None
    first = min(axis.offset for axis in known)
    return Axis(max(axis.offset + axis.size for axis in known) - first, known[0].stride, first)


def contracted(spread: Spread, place: int, other: Spread | None = None) -> Spread:
    """Return the spread after the dimension at `place` was summed over, and another took that place.

    That other dimension is the one at the same place of `other`; where that is None, weights bring channels.
    """
    roles = list(spread.roles)
    del roles[place]
    role = "c" if other is None else other.roles[place]
    if set(role) & set("".join(roles)) & set("nhw"):
        role = ""
    roles.insert(place % len(spread.roles), role)
    grids = spread.grids if other is None else spread.grids | other.grids
    return replace(spread.mixed([place]).with_roles(roles), grids=grids)


# --- views --------------------------------------------------------------------------------------------------


@rule("view reshape _unsafe_view view_as flatten unflatten squeeze unsqueeze")
def _view(node: fx.Node, spread: Spread) -> Spread:
    return reshaped(spread, sizes_of(node.args[0]), sizes_of(node))


def views_channels(node: fx.Node) -> bool:
    """Return whether a node of an analysed graph is a view that leaves rows and columns, the last two, as they are."""
    if operator_name(node) != "reshape":  # as capture writes all views
        return False
    spreads = [n.meta.get("spread") for n in (node, *node.all_input_nodes[:1])]
    return all(isinstance(s, Spread) and len(s.roles) > 2 and s.roles[-2:] == ("h", "w") for s in spreads)


def reshaped(spread: Spread, old: Sequence[int], new: Sequence[int]) -> Spread:
    """Return the spread of a tensor of sizes `old` that is viewed with sizes `new`, row-major.

    Dimensions of size 1 come and go freely. Channels may be split and merged. Rows merged with the columns
    behind them are remembered as "hw". Where rows (or columns) are split into blocks, the first new dimension
    stays "h" and sees its whole block; where they are merged with what is no row or column behind them, as in an
    upsampling by copies, each stands for so many new ones. Every other split or merge of rows or columns gives "".

    *Convention*: a first dimension as long as the batch is the batch, whatever it was made of (windows, as a rule).
    """
    if tuple(old) == tuple(new):
        return spread
    if prod(old) != prod(new):
        return spread.with_roles("" for _ in new)
    here = [d for d, size in enumerate(old) if size != 1]
    there = [d for d, size in enumerate(new) if size != 1]
    roles = [""] * len(new)
    for before, after in _groups([old[d] for d in here], [new[d] for d in there]):
        sizes = [new[there[j]] for j in after]
        sources = tuple(spread.roles[here[i]] for i in before)
        first = here[before[0]]
        if sources in (("h",), ("w",)):
            block = prod(sizes[1:])
            spread = spread.windowed(first, Window(block, 0, block - 1))
        elif _repeats(sources) and len(sizes) == 1:
            copies = sizes[0] // old[first]
            spread = spread.windowed(first, Window(Fraction(1, copies), Fraction(1, copies) - 1, 0))
        elif sources == ("h", "w") and len(sizes) == 1:
            spread = spread.with_grid((old[first], old[here[before[1]]]))
        for j, role in zip(after, _regrouped(sources, sizes, spread.grids), strict=True):
            roles[there[j]] = role
    if new and new[0] == BATCH and "n" not in roles:
        roles[0] = "n"
    return spread.with_roles(roles)


def _repeats(sources: tuple[str, ...]) -> bool:
    """Return whether rows (or columns) come first, and behind them only dimensions that are neither."""
    return len(sources) > 1 and sources[0] in ("h", "w") and set(sources[1:]) <= {"", "c"}


def _regrouped(
    sources: tuple[str, ...], sizes: list[int], grids: frozenset[tuple[int, int]]
) -> Sequence[str]:
    """Return the roles of dimensions of these sizes that were made of dimensions with the roles `sources`."""
    if len(sources) == len(sizes) == 1:
        return sources
    match sources:
        case ("h", "w") if len(sizes) == 1:
            return ["hw"]
        case ("hw",) if tuple(sizes) in grids:
            return ["h", "w"]
        case _ if _repeats(sources) and len(sizes) == 1:
            return [sources[0]]
        case ("h" | "w" as letter,):
            return [letter, *["c"] * (len(sizes) - 1)]
    carried = set("".join(sources))
    if carried <= {"n", "c"} and "" not in sources and ("n" not in carried or prod(sizes) % BATCH == 0):
        return ["n" if size == BATCH else "nc" if size % BATCH == 0 else "c" for size in sizes]
    return [""] * len(sizes)


def _groups(old: Sequence[int], new: Sequence[int]) -> Iterator[tuple[range, range]]:
    """Yield the shortest runs of old and new dimensions that hold equally many entries."""
    i = j = 0
    while i < len(old) and j < len(new):
        start, held, needed = (i, j), old[i], new[j]
        i, j = i + 1, j + 1
        while held != needed:
            if held < needed:
                held, i = held * old[i], i + 1
            else:
                needed, j = needed * new[j], j + 1
        yield range(start[0], i), range(start[1], j)
