"""Zoom: the central part of large receptive fields, where the projections are.

A theoretical receptive field grows much faster than the part of it that matters (Luo et al., 2016): in a residual
network a unit can see the whole image while its projections fill a tenth of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from backlight.geometry import Box
from backlight.render.tiles import Tile

SHARE = 0.98
"""Share of a projection's magnitude that a zoomed tile holds at least, in nine of ten tiles."""

_WORTH_IT = 0.75


def zoom(tiles: Sequence[Tile], share: float = SHARE, moved: bool = False) -> list[Tile]:
    """Return tiles cut to the centre of their boxes, all to one size, that holds a share of the magnitude.

    Args:
        tiles: Hits of one layer, their boxes all of one size.
        share: Share of the sum of |r| that nine of ten tiles keep.
        moved: Whether a cut that would leave the image is moved into it, as far as the unit's own box reaches: more of
            the image and of the projection is seen, but the tiles are no longer aligned on their units, and a cross
            marks these.

    Returns:
        The tiles in their order; as they are where less than a quarter of the side would go.

    *Convention*: the cut is centred on the box and keeps the parity of its sides.

    Example:
        >>> values = np.zeros((9, 9, 1)); values[4, 5] = 1
        >>> zoom([Tile(np.zeros((9, 9, 3), np.uint8), values, Box(0, 0, 9, 9), (9, 9))])[0].box
        Box(top=3, left=3, bottom=6, right=6)
    """
    margin = margin_of(tiles, share)
    return [trimmed(tile, margin, moved) for tile in tiles]


def margin_of(tiles: Sequence[Tile], share: float = SHARE) -> int:
    """Return how many pixels `zoom` cuts from each side of tiles; 0 where that is not worth it.

    Args:
        tiles: As for `zoom`.
        share: As for `zoom`.
    """
    if not tiles:
        return 0
    # nine of ten tiles could lose more
    margin = int(np.floor(np.quantile([_margin(tile, share) for tile in tiles], 0.1)))
    side = min(tiles[0].box.height, tiles[0].box.width)
    return margin if side - 2 * margin <= _WORTH_IT * side else 0


def _margin(tile: Tile, share: float) -> int:
    """Return how many pixels can be cut from each side of a tile's box with the share still inside."""
    inside = tile.inside
    rows = np.arange(inside.top, inside.bottom)[:, None]
    cols = np.arange(inside.left, inside.right)
    # (h, w) of the inside: how many pixels lie between a pixel and the nearest side of the box, 0 along the border
    from_edge = np.minimum(
        np.minimum(rows - tile.box.top, tile.box.bottom - 1 - rows),
        np.minimum(cols - tile.box.left, tile.box.right - 1 - cols),
    )
    magnitude = np.abs(tile.projection).sum(2, dtype=np.float64)
    # The box is a nest of rings. per_margin[m] is the magnitude on ring m; kept[m], summed from the middle out, is what
    # remains after m pixels are cut from each side.
    per_margin = np.bincount(from_edge.ravel(), magnitude.ravel())
    kept = per_margin[::-1].cumsum()[::-1]
    # kept falls with m, so the last m that keeps enough is the largest; m = 0 always does
    return int(np.flatnonzero(kept >= share * kept[0])[-1]) if kept[0] else 0


def trimmed(tile: Tile, margin: int, moved: bool = False) -> Tile:
    """Return a tile without a margin, moved into the image if asked; as for `zoom`."""
    return cut(tile, without_margin(tile.box, tile.image_size, margin, moved)) if margin else tile


def cut(tile: Tile, box: Box) -> Tile:
    """Return the part of a tile on a box inside its own; the unit is marked where it is no longer in the middle."""
    middle = _middle(tile.box)
    unit = None if _middle(box) == middle else middle
    # patch and projection begin at the first pixel of the old box that is inside the image
    kept = box.clip(*tile.image_size).slices(tile.inside.top, tile.inside.left)
    return Tile(tile.patch[kept], tile.projection[kept], box, tile.image_size, unit)


def without_margin(outer: Box, image_size: tuple[int, int], margin: int, moved: bool = False) -> Box:
    """Return a box without a margin, moved into the image if asked, as far as the box itself reaches."""
    height, width = image_size
    top, left = outer.top + margin, outer.left + margin
    rows, cols = outer.height - 2 * margin, outer.width - 2 * margin
    if moved:
        top = _moved(top, rows, (outer.top, outer.bottom), height)
        left = _moved(left, cols, (outer.left, outer.right), width)
    return Box(top, left, top + rows, left + cols)


def moved_inside(box: Box, image_size: tuple[int, int]) -> Box:
    """Return a box moved into the image; as it is where it is longer than the image along an axis."""
    height, width = image_size
    if box.height > height or box.width > width:
        return box
    top, left = min(max(box.top, 0), height - box.height), min(max(box.left, 0), width - box.width)
    return Box(top, left, top + box.height, left + box.width)


def _middle(box: Box) -> tuple[float, float]:
    return (box.top + box.bottom - 1) / 2, (box.left + box.right - 1) / 2


def into_image(tile: Tile, image: UInt8[np.ndarray, "_ _ 3"]) -> Tile:
    """Return a tile moved into the image, if its box leaves it and fits: the patch shows what lies beside the field.

    The projection is zero there, since a unit sees no further than its field; a cross marks the unit.

    Args:
        tile: The tile.
        image: (h, w, 3) the whole preprocessed image.

    Example:
        >>> tile = Tile(np.zeros((2, 3, 3), np.uint8), np.ones((2, 3, 1)), Box(-1, 0, 2, 3), (8, 8))
        >>> into_image(tile, np.zeros((8, 8, 3), np.uint8)).box
        Box(top=0, left=0, bottom=3, right=3)
    """
    box, seen = moved_inside(tile.box, tile.image_size), tile.inside
    if box == tile.box:
        return tile
    projection = np.zeros((box.height, box.width, tile.projection.shape[2]), tile.projection.dtype)
    projection[seen.slices(box.top, box.left)] = tile.projection
    unit = _middle(tile.box) if tile.unit is None else tile.unit
    return Tile(image[box.slices()], projection, box, tile.image_size, unit)


def _moved(start: int, size: int, outer: tuple[int, int], length: int) -> int:
    """Return where a range begins that lies inside an image, or covers all of it, as far as the outer range allows."""
    low, high = sorted((0, length - size))
    into = min(max(start, low), high)
    return min(max(into, outer[0]), outer[1] - size)
