"""Locality: whether an operator gives on a crop what it gives on the whole image, away from the crop's own edges.

Each takes the node, the roles of its dimensions (of what gives several tensors: those of its input) and its operands
that do not change with the pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import fx

from backlight.operators.reading import shape_of

POSITIONS = frozenset({"h", "w", "hw", ""})
"""The roles of dimensions along which a crop has other entries than the image, or may have."""


def cell_by_cell(node: fx.Node, roles: tuple[str, ...], constants: Sequence[fx.Node]) -> bool:
    """Local, unless a constant has an entry for every row or column."""
    # Aligned from the last dimension, as torch broadcasts: a constant (c, 1, 1) meets the roles c, h, w. One of size 12
    # along the rows has a value for each of an image's 12 rows, and a crop has fewer.
    return not any(
        role in POSITIONS and size != 1
        for n in constants
        for role, size in zip(reversed(roles), reversed(shape_of(n) or ()), strict=False)
    )


def by_definition(node: fx.Node, roles: tuple[str, ...], constants: Sequence[fx.Node]) -> bool:
    """Local; where it mixes rows or columns, its field says so."""
    return True


def by_channel(node: fx.Node, roles: tuple[str, ...], constants: Sequence[fx.Node]) -> bool:
    """Local, unless the dimension that it has numbers for, the second, is rows or columns.

    Audio networks normalise each frequency so.
    """
    # all of the constants' sizes: they are vectors over the second dimension, or single numbers
    sizes = [size for n in constants for size in shape_of(n) or ()]
    return not (roles[1] in POSITIONS and any(size != 1 for size in sizes))
