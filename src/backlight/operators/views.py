"""Views: the same entries in another shape or order, or stretched over new dimensions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from math import prod
from typing import Any

from torch import fx

from backlight.operators import local
from backlight.operators.adjoint import Adjoint, Below, Record, Walk
from backlight.operators.fields import named_dims, of_one_signal
from backlight.operators.kinds import linear_in_first
from backlight.operators.operator import Example, Operator, Origin, named
from backlight.operators.reading import (
    BATCH,
    arguments,
    aten,
    only_first,
    packet,
    sizes_of,
)
from backlight.operators.spread import Spread, Window, stretched
from backlight.operators.windows import Windows, in_order

# --- fields ---------------------------------------------------------------------------------------------------


def _view(node: fx.Node, spread: Spread) -> Spread:
    """What the same entry saw before; the whole image along rows or columns that are mixed with others."""
    return reshaped(spread, sizes_of(node.args[0]), sizes_of(node))


def views_channels(node: fx.Node) -> bool:
    """Return whether a node of an analysed graph is a view that leaves rows and columns, the last two, as they are."""
    if packet(node) is not aten.reshape:  # as capture writes all views
        return False
    spreads = [n.meta.get("spread") for n in (node, *node.all_input_nodes[:1])]
    return all(isinstance(s, Spread) and len(s.roles) > 2 and s.roles[-2:] == ("h", "w") for s in spreads)


def keeps_batch(node: fx.Node) -> bool:
    """Return whether a node that computes with sizes is a view whose first dimension stays the batch of images."""
    if packet(node) is not aten.reshape:
        return False
    sizes: Any = node.args[1]
    # Where it is the batch's size, sizes[0] reads it from a tensor; n * windows would be a product of that.
    first, spread = sizes[0], node.meta.get("spread")
    is_batch_size = isinstance(first, fx.Node) and packet(first) is aten.sym_size
    return is_batch_size and spread is not None and spread.roles[:1] == ("n",)


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
    if prod(old) != prod(new):  # pairs of images, say: half of BATCH, a prime, is no whole number
        return spread.with_roles("" for _ in new)
    # Places of the dimensions longer than 1, before and after: sizes of 1 hold no entries and have the role "".
    here = [d for d, size in enumerate(old) if size != 1]
    there = [d for d, size in enumerate(new) if size != 1]
    roles = [""] * len(new)
    for before, after in _groups([old[d] for d in here], [new[d] for d in there]):
        sizes = [new[there[j]] for j in after]
        sources = tuple(spread.roles[here[i]] for i in before)
        first = here[before[0]]
        if sources in (("h",), ("w",)):
            # (H) -> (H / b, b): the first new dimension counts blocks of b rows; alone (b = 1) nothing changes.
            block = prod(sizes[1:])
            spread = spread.windowed(first, Window(block, 0, block - 1))
        elif _repeats(sources) and len(sizes) == 1:
            # (H, f) -> (H * f): index i of the result is row floor(i / f).
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
            # (H,) -> (H / b, b): places in a block are as good as channels.
            return [letter, *["c"] * (len(sizes) - 1)]
    # Only batch and channels, as in (n, heads * d) -> (n * heads, d): which of the new dimensions holds the batch shows
    # in their sizes, as BATCH is a prime.
    carried = set("".join(sources))
    if carried <= {"n", "c"} and "" not in sources and ("n" not in carried or prod(sizes) % BATCH == 0):
        return ["n" if size == BATCH else "nc" if size % BATCH == 0 else "c" for size in sizes]
    return [""] * len(sizes)


def _groups(old: Sequence[int], new: Sequence[int]) -> Iterator[tuple[range, range]]:
    """Yield the shortest runs of old and new dimensions that hold equally many entries."""
    i = j = 0
    # Take one dimension from each side, then more from the side that holds fewer entries, until both hold as many.
    while i < len(old) and j < len(new):
        start, held, needed = (i, j), old[i], new[j]
        i, j = i + 1, j + 1
        while held != needed:
            if held < needed:
                held, i = held * old[i], i + 1
            else:
                needed, j = needed * new[j], j + 1
        yield range(start[0], i), range(start[1], j)


def _permuted(node: fx.Node, spread: Spread) -> Spread:
    """What the same entry saw before."""
    return replace(spread, roles=tuple(spread.roles[d] for d in _order(node, len(spread.roles))))


def _expanded(node: fx.Node, spread: Spread) -> Spread:
    """What the operand sees in the same place, broadcast to the new shape."""
    return stretched(spread, sizes_of(node.args[0]), sizes_of(node))


# --- the backward pass ----------------------------------------------------------------------------------------


def _order(node: fx.Node, rank: int) -> list[int]:
    """Return which dimension of the operand each dimension of a permutation, or of an exchange of two, is."""
    order = list(range(rank))
    if packet(node) is aten.permute:
        return named_dims(node, rank)
    if rank > 1:  # transpose names two dimensions, `t` none: its 0 and 1; `t` of a vector is the vector
        a, b = (arguments(node).get(key, default) for key, default in (("dim0", 0), ("dim1", 1)))
        order[a], order[b] = order[b], order[a]
    return order


def _permute_back(node: fx.Node, signal: Windows, walk: Walk) -> Below:
    rank = signal.data.dim()
    # Dimension k of the node is dimension order[k] of the operand, and so are its windows; axes stay sorted.
    order = [d % rank for d in _order(node, rank)]
    axes = tuple(sorted(((order[dim], starts) for dim, starts in signal.axes), key=lambda axis: axis[0]))
    back = sorted(range(rank), key=order.__getitem__)  # the inverse permutation
    yield node.args[0], Windows(in_order(signal.data.permute(back)), axes, fresh=False)


def _reshape_back(node: fx.Node, signal: Windows, walk: Walk) -> Below:
    """Give the signal the operand's shape; on windows where the last two dimensions, rows and columns, are kept."""
    below: Any = node.args[0]
    shape, own = walk.record.shapes[node], walk.record.shapes[below]
    rank, n = len(shape), len(signal.data)
    # (n, ..., h, w) -> (n, ..., h, w): only what lies between batch and rows is viewed otherwise, as in a shuffle.
    kept = shape[0] == own[0] and shape[-2:] == own[-2:] and min(rank, len(own)) > 2
    if signal.axes and kept and [dim for dim, _ in signal.axes] == [rank - 2, rank - 1]:
        # Windows (n, ..., kh, kw) keep their size; rows and columns are counted from the last dimension.
        axes = tuple((dim - rank + len(own), starts) for dim, starts in signal.axes)
        data = signal.data.reshape(n, *own[1:-2], *signal.data.shape[-2:])
        yield below, Windows(in_order(data), axes, fresh=False)
    else:
        # n units stand where m images were. They share images only where the batch is first on both sides; elsewhere
        # each unit has an image of its own, n = m, and the operand's own sizes hold.
        data = signal.whole(shape).data.reshape(n if shape[0] == own[0] else own[0], *own[1:])
        yield below, Windows(in_order(data), fresh=False)


def _reshape_crop(node: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any], record: Record) -> Any:
    """Reshape; the graph has the whole image's rows and columns where a crop has its own."""
    if views_channels(node):
        value, sizes = args[:2]
        return value.reshape(*sizes[:-2], *value.shape[-2:])
    return aten.reshape.default(*args, **kwargs)


def _views_channels(node: fx.Node, roles: tuple[str, ...], constants: Sequence[fx.Node]) -> bool:
    """Local, if it leaves rows and columns as they are."""
    return views_channels(node) and local.cell_by_cell(node, roles, constants)


# --- the entries ----------------------------------------------------------------------------------------------

_RESHAPE = Operator(
    ("reshape",),
    kind=linear_in_first,
    origin=Origin.ENTRIES,
    field=of_one_signal(_view),
    adjoint=Adjoint(_reshape_back, of_complex=True, forward=_reshape_crop),
    is_local=_views_channels,
    examples=(
        Example(lambda x: x.reshape(-1, 6, 2, 12, 12).flatten(1, 2), (12, 12, 12)),
        Example(lambda x: x.reshape(-1, 3, 144)),
        Example(lambda x: x.reshape(-1, 3, 6, 2, 12).sum(3)),
    ),
)
_BACK = Adjoint(_reshape_back, of_complex=True)
_PERMUTE = Operator(
    ("permute",),
    kind=linear_in_first,
    origin=Origin.ENTRIES,
    field=of_one_signal(_permuted),
    adjoint=Adjoint(_permute_back, of_complex=True),
    is_local=local.cell_by_cell,
    examples=(Example(lambda x: x.permute(0, 2, 3, 1)),),
)
_EXPAND = Operator(
    named("expand broadcast_to"),
    kind=linear_in_first,
    origin=Origin.ENTRIES,
    field=of_one_signal(_expanded),
    examples=(Example(lambda x: x.mean(1, keepdim=True).expand(-1, 4, -1, -1)),),
)

OPERATORS = (
    _RESHAPE,
    replace(
        _RESHAPE,
        names=named("view flatten squeeze unsqueeze"),
        adjoint=_BACK,
        is_local=None,
        examples=(
            Example(lambda x: x[:, :1].unsqueeze(2)),
            Example(lambda x: x[:, :1].squeeze(1)),
        ),
    ),
    Operator(
        named("_unsafe_view unflatten"),
        kind=linear_in_first,
        origin=Origin.ENTRIES,
        field=of_one_signal(_view),
    ),
    Operator(
        ("view_as",),
        kind=linear_in_first,
        reads=only_first,
        origin=Origin.ENTRIES,
        field=of_one_signal(_view),
    ),
    Operator(("reshape_as",), kind=linear_in_first, reads=only_first, origin=Origin.ENTRIES),
    Operator(("resize_as",), reads=only_first),
    _PERMUTE,
    replace(_PERMUTE, names=("transpose",), examples=(Example(lambda x: x.transpose(1, 3)),)),
    replace(
        _PERMUTE,
        names=("t",),
        adjoint=Operator.adjoint,
        is_local=None,
        examples=(),
    ),
    Operator(("movedim",), kind=linear_in_first, origin=Origin.ENTRIES),
    _EXPAND,
    replace(_EXPAND, names=("expand_as",), reads=only_first, examples=()),
)
