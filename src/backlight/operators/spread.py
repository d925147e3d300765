"""The dimensions of a tensor inside a network: which are rows and columns, and which pixels they lead to.

*Convention*: rows and columns are followed apart, each with whole-number intervals that never miss a pixel.
Where a dimension stops being a row or a column of the image, that axis becomes None, the whole image.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, floor, prod

from backlight.geometry import Axis


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
        carried = "".join(roles)  # "nchw"; "hw" as one dimension counts for both of its letters
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
        # Input index j begins at floor(j * axis.stride) + offset, and output index i reads j from i * step + first to
        # i * step + last: counted from i * stride, that begins at first * axis.stride and at last * axis.stride.
        # Rounding down loses up to 1 - 1/d of a fraction with denominator d: of j's at the low end, of i's at the high
        # end. Whole strides lose nothing, as their d is 1.
        low = ceil(self.first * axis.stride - 1 + Fraction(1, axis.stride.denominator))
        high = floor(self.last * axis.stride + 1 - Fraction(1, stride.denominator))
        return Axis(axis.size + high - low, stride, axis.offset + low)


def slide(spread: Spread, windows: Sequence[Window]) -> Spread:
    """Return the spread after one window slid along each of the last dimensions."""
    for place, window in enumerate(windows, start=-len(windows)):
        spread = spread.windowed(place, window)
    return spread


Spreads = Spread | tuple[Spread, ...]  # a tuple: of the tensors that one operator returns together


def stretched(spread: Spread, sizes: Sequence[int], target: Sequence[int]) -> Spread:
    """Return the spread of a tensor of these sizes after it was broadcast to the target's."""
    # As torch broadcasts: missing dimensions come first, and a dimension of size 1 that is copied has no role left.
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
    # Dimension by dimension: the role that all spreads agree on, where "" agrees with anything.
    for candidates in zip(*(s.roles for s in spreads), strict=True):
        named = set(candidates) - {""}
        if len(named) > 1:  # rows met columns, say: neither is what it was
            spreads = [s.mixed(d for d, role in enumerate(s.roles) if role in named) for s in spreads]
        roles.append(named.pop() if len(named) == 1 else "")
    grids = frozenset[tuple[int, int]]().union(*(s.grids for s in spreads))
    # As many positions, but other rows and columns: the product no longer tells the grids apart.
    if len({prod(grid) for grid in grids}) < len(grids):
        roles, grids = ["" if role == "hw" else role for role in roles], frozenset()
    rows, cols = _union([s.rows for s in spreads]), _union([s.cols for s in spreads])
    ignored = any(s.gates_ignored for s in spreads)
    sees_all = any(s.sees_all for s in spreads)
    return Spread((), rows, cols, ignored, sees_all, grids).with_roles(roles)


def _union(axes: Sequence[Axis | None]) -> Axis | None:
    known = [axis for axis in axes if axis is not None]
    # Index i sees [i * stride + offset, ... + size): with one stride the union has the same shape for every i.
    if len(known) < len(axes) or len({axis.stride for axis in known}) > 1:
        return None
    first = min(axis.offset for axis in known)
    return Axis(max(axis.offset + axis.size for axis in known) - first, known[0].stride, first)


def contracted(spread: Spread, place: int, other: Spread | None = None) -> Spread:
    """Return the spread after the dimension at `place` was summed over, and another took that place.

    That other dimension is the one at the same place of `other`; where that is None, weights bring channels.
    """
    # (..., i, k) @ (..., k, j): `place` is k; what comes to stand there is the other factor's j, or i on the left.
    roles = list(spread.roles)
    del roles[place]
    role = "c" if other is None else other.roles[place]
    if (
        set(role) & set("".join(roles)) & set("nhw")
    ):  # rows against rows (attention): an axis is there only once
        role = ""
    roles.insert(place % len(spread.roles), role)
    grids = spread.grids if other is None else spread.grids | other.grids
    return replace(spread.mixed([place]).with_roles(roles), grids=grids)
