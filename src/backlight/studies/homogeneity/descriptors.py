"""Descriptors of aligned tiles: the rows of numbers by which two hits are compared."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from skimage.color import rgb2lab
from skimage.feature import hog

from backlight.studies.homogeneity.aligned import ALIGNED_SIDE, AlignedTiles

_CELLS, _ORIENTATIONS = 8, 8
_CELL = ALIGNED_SIDE // _CELLS
_MOST_OF_A_CELL = 0.75
_COLOUR_SIGMA = ALIGNED_SIDE / 5
_EVEN = 1e-4


@dataclass(frozen=True, eq=False)
class Descriptors:
    """Descriptors of n hits of a layer.

    Attributes:
        projections: (n, cells * orientations) the edges of the projection: histograms of oriented gradients.
        projections_known: (n, cells * orientations) which of them lie inside the image; none where it is even.
        patches: (n, cells * orientations) the edges of the patch.
        patches_known: (n, cells * orientations) which of them lie inside; none where it is even.
        colours: (n, 3) mean colour of the patch around the unit, CIELAB; NaN where none of it is inside.
    """

    projections: NDArray[np.float32]
    projections_known: NDArray[np.bool_]
    patches: NDArray[np.float32]
    patches_known: NDArray[np.bool_]
    colours: NDArray[np.float32]

    @classmethod
    def joined(cls, parts: Iterable[Descriptors]) -> Descriptors:
        """Return the descriptors of several parts of a layer as one."""
        kept = list(parts)
        names = cls.__dataclass_fields__
        return cls(*(np.concatenate([getattr(part, name) for part in kept]) for name in names))


def describe(tiles: AlignedTiles) -> Descriptors:
    """Return the descriptors of tiles.

    *Convention*: gradients are unsigned, taken from the channel where they are largest, summed in 8 x 8 cells and 8
    orientations, and scaled over the whole tile; the square root of the sums keeps the strongest edge from deciding
    alone. A shift within a cell, an eighth of the side, changes little. A cell is known where three quarters of it lie
    inside the image. Colours are averaged under a Gaussian of a fifth of the side around the unit.

    *Source*: Adebayo et al. (2018) compare projections by histograms of oriented gradients (HOG). *Differs*: they are
    not normalised by blocks, which would count faint noise as much as the pattern.

    Example:
        >>> tiles = AlignedTiles(np.ones((2, 64, 64, 3), "f"), np.ones((2, 64, 64, 3), "f"), np.full((2, 64, 64), True))
        >>> found = describe(tiles)
        >>> found.projections.shape, bool(found.projections_known.any()), abs(found.colours[0]).round()
        ((2, 512), False, array([100.,   0.,   0.], dtype=float32))
    """
    n = len(tiles.valid)
    # (n, cells, cell, cells, cell): the share of each cell that is inside, then once for each orientation
    inside = tiles.valid.reshape(n, _CELLS, _CELL, _CELLS, _CELL).mean((2, 4)).reshape(n, -1)
    # `hog` gives a cell's orientations one after the other, cells row by row: entry cell · orientations + orientation
    known = np.repeat(inside >= _MOST_OF_A_CELL, _ORIENTATIONS, 1)
    return Descriptors(
        _edges(tiles.projections),
        known & ~_even(tiles.projections),
        _edges(tiles.patches),
        known & ~_even(tiles.patches),
        _colours(tiles),
    )


def _edges(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (n, cells * orientations) the root of the histograms of pictures (n, side, side, c)."""
    # one block as large as the tile, so that the scale is that of the whole tile
    options = {"pixels_per_cell": (_CELL, _CELL), "cells_per_block": (_CELLS, _CELLS), "block_norm": "L2"}
    rows = [hog(picture, _ORIENTATIONS, channel_axis=-1, **options) for picture in pictures]
    result: NDArray[np.float32] = np.sqrt(np.stack(rows), dtype=np.float32)
    return result


def _even(pictures: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return (n, 1) whether a picture is the same everywhere."""
    # (n, c): the range of each channel, of which the largest counts
    spread = pictures.max((1, 2)) - pictures.min((1, 2))
    result: NDArray[np.bool_] = spread.max(1, keepdims=True) <= _EVEN
    return result


def _colours(tiles: AlignedTiles) -> NDArray[np.float32]:
    """Return (n, 3) the mean colour around the unit, over what is inside the image."""
    # The unit lies in the middle of a tile of even side, between its two middle rows and columns: (side, side) weights.
    away = np.arange(ALIGNED_SIDE) - (ALIGNED_SIDE - 1) / 2
    near = np.exp(-(away[:, None] ** 2 + away**2) / (2 * _COLOUR_SIGMA**2))
    weights = near * tiles.valid  # (n, side, side)
    total = weights.sum((1, 2))[:, None]  # (n, 1)
    sums = (rgb2lab(tiles.patches) * weights[..., None]).sum((1, 2))
    result: NDArray[np.float32] = np.where(total > 0, sums / np.where(total > 0, total, 1), np.nan)
    return result.astype(np.float32)
