"""Lanes: layers as a diagram that follows the data, a row for each, as `git log --graph` draws commits.

What a layer gives runs down in a lane until the last layer that reads it. The first reader stands in that lane, and
what others read later is carried on beside it: the main path stays straight, skips and branches lie to its right.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from itertools import count

from backlight.web.contexts import Lanes, Wire

IMAGE = ""
"""Stands for the image among sources, as in the atlas."""

INTO, PAST, OUT = "into", "past", "out"
MOST = 8
"""Lanes that are told apart; where a dense network needs more, the others are drawn as the last one."""


def lanes(names: Sequence[str], sources: Sequence[Sequence[str] | None]) -> tuple[Lanes, ...]:
    """Return the rows of a diagram: the image's, and then one for each layer.

    Args:
        names: The layers, in the order of the graph.
        sources: The names of those that each reads, all before it; an empty name is the image. None where that is
            not known: such a layer is drawn as if it read the one before it.

    Example:
        >>> [row.lane for row in lanes(["a", "b", "sum"], [("",), ("a",), ("a", "b")])]
        [0, 0, 0, 0]
    """
    every = (IMAGE, *names)
    read = [(), *((before,) if own is None else own for before, own in zip(every, sources, strict=False))]
    last = {source: i for i, own in enumerate(read) for source in own}
    live: dict[int, str] = {}  # what each lane carries
    rows = []
    for i, (name, own) in enumerate(zip(every, read, strict=True)):
        mine = sorted(lane for lane, carried in live.items() if carried in own)
        lane = mine[0] if mine else _free(live)
        wires = [Wire(start, lane, INTO) for start in mine]
        after: dict[int, str] = {}
        for start, carried in sorted(live.items()):
            if last[carried] > i:
                # the layer has taken the lane: what is read again moves to one beside all others
                end = _free({*live, *after, lane}) if start == lane else start
                after[end] = carried
                wires.append(Wire(start, end, PAST))
        if name in last:
            after[lane] = name
            wires.append(Wire(lane, lane, OUT))
        rows.append(Lanes(lane, tuple(wires)))
        live = after
    return tuple(rows)


def passing(row: Lanes) -> Lanes:
    """Return what runs past above a row: the wires of a heading that stands before it."""
    return Lanes(None, tuple(Wire(start, start, PAST) for start in _entering(row)))


def folded(rows: Sequence[Lanes]) -> Lanes:
    """Return rows drawn as one: what they read goes into it, what they give comes out, and all else runs past."""
    lane, wires, passed = rows[0].lane, [], set[int]()
    assert lane is not None
    for start in _entering(rows[0]):
        at: int | None = start
        is_read = False
        for row in rows:
            own = {wire.part: wire.end for wire in row.wires if wire.start == at and wire.part != OUT}
            is_read |= INTO in own
            at = own.get(PAST)
            if at is None:
                break
        if is_read:
            wires.append(Wire(start, lane, INTO))
        if at is not None:
            wires.append(Wire(start, at, PAST))
            passed.add(at)
    leaving = sorted({wire.end for wire in rows[-1].wires if wire.part != INTO} - passed)
    return Lanes(lane, (*wires, *(Wire(lane, end, OUT) for end in leaving)))


def width(rows: Sequence[Lanes]) -> int:
    """Return how many lanes rows fill, at most `MOST`."""
    return min(1 + max((wire.end for row in rows for wire in row.wires), default=0), MOST)


def _entering(row: Lanes) -> list[int]:
    return sorted({wire.start for wire in row.wires if wire.part != OUT})


def _free(taken: Container[int]) -> int:
    return next(lane for lane in count() if lane not in taken)
