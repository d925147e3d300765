"""Padding: borders put around maps, and what they show of the pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch.nn.functional as F
from torch import fx

from backlight.operators import local
from backlight.operators.fields import of_one_signal
from backlight.operators.kinds import linear_in_first
from backlight.operators.operator import Example, Operator, Origin, named
from backlight.operators.reading import arguments, aten, operator_name, options_of, packet
from backlight.operators.spread import Spread, Window

_PADS = {aten.pad, aten.constant_pad_nd, aten.reflection_pad2d, aten.replication_pad2d}
_MIRRORS = {"constant": 0, "reflect": 2, "reflection": 2, "replicate": 1, "replication": 1}


def _borders(node: fx.Node) -> tuple[dict[int, tuple[int, int]], int]:
    """Return the border before and after each place (-1: the last), and how far inwards its pixels repeat.

    That is in widths of the border: 0 for a constant, 1 for a replicated edge, 2 for a reflection; else -1.
    """
    given = arguments(node)
    widths: Any = given.get("pad", given.get("padding"))
    mode = given.get("mode") or operator_name(node).partition("_")[0]
    pairs = enumerate(zip(widths[::2], widths[1::2], strict=True), start=1)
    return {-place: pair for place, pair in pairs}, _MIRRORS.get(mode, -1)


def mirrored_border(below: Any) -> dict[int, tuple[int, int]]:
    """Return how far inwards the pixels of a mirrored border repeat, before and after each place (-1: the last)."""
    if not isinstance(below, fx.Node) or packet(below) not in _PADS:
        return {}
    borders, mirror = _borders(below)
    return {
        place: (mirror * max(before, 0), mirror * max(after, 0)) for place, (before, after) in borders.items()
    }


def _pad(node: fx.Node, spread: Spread) -> Spread:
    """What the operand sees in the same place, or where a border repeats it; the whole image if it is circular."""
    borders, mirror = _borders(node)
    for place, (before, after) in borders.items():
        if mirror < 0 and (before or after):  # circular: the border shows the other end
            spread = spread.mixed([place])
        left, right = (mirror * max(width, 0) for width in (before, after))
        spread = spread.windowed(place, Window(1, -before - right, -before + left))
    return spread


def _adds_only(node: fx.Node, roles: tuple[str, ...], constants: Sequence[fx.Node]) -> bool:
    """Local, unless a negative width cuts off what a crop has beyond its own edges."""
    widths = options_of(node, node.args, node.kwargs)["pad"]
    return min(widths) >= 0 and local.cell_by_cell(node, roles, constants)


_PAD = Operator(
    named("pad constant_pad_nd"),
    kind=linear_in_first,
    origin=Origin.ENTRIES,
    field=of_one_signal(_pad),
    is_local=_adds_only,
    examples=(
        Example(lambda x: F.pad(x, (1, 2, 0, 1))),
        Example(lambda x: aten.constant_pad_nd.default(x, [2, 1, 1, 0])),
    ),
)

OPERATORS = (
    _PAD,
    replace(
        _PAD,
        names=named("reflection_pad2d replication_pad2d"),
        gives_maps=True,
        is_local=None,
        examples=(
            Example(lambda x: aten.reflection_pad2d.default(x, [2, 1, 1, 2])),
            Example(lambda x: aten.replication_pad2d.default(x, [2, 1, 1, 2])),
        ),
    ),
)
