"""The fairest rival of a mask: itself, turned about the unit."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray

from backlight.studies.subjects import Subject, distances

TURNS = 3
"""Turns of a mask: by 90, 180 and 270 degrees."""


def turned(
    mask: Bool[np.ndarray, "h w"], subject: Subject, quarters: int, generator: np.random.Generator
) -> Bool[np.ndarray, "h w"]:
    """Return a mask turned about the middle of the receptive field, with as many pixels at each distance from it.

    What a unit sees is concentrated around its middle, so where a mask is near to it, it is right by position alone.
    The turned mask has the same distances and another direction: what the mask gains over it, is seen and not placed.

    Args:
        mask: Over the part of the receptive field inside the image.
        subject: The hit.
        quarters: Quarter turns, anticlockwise.
        generator: Draws the pixels that replace those turned out of the image.

    *Convention*: a distance counts rounded to whole pixels. Pixels that are turned out of the image are replaced by
    others at the same distance, drawn at random.

    Example:
        >>> from backlight.geometry import Box
        >>> from backlight.projection import Unit
        >>> hit = Subject(Unit("conv", 0, 0, 0), 0, 0, Box(0, 0, 3, 3), Box(0, 0, 3, 3))
        >>> mask = np.array([[0, 1, 1], [0, 0, 0], [0, 0, 0]], bool)
        >>> turned(mask, hit, 1, np.random.default_rng(0)).astype(int).tolist()
        [[1, 0, 0], [1, 0, 0], [0, 0, 0]]
    """
    box, inside = subject.box, subject.inside
    side = max(box.height, box.width)
    # on a square around the field, whose middle the turn keeps
    square = np.zeros((side, side), bool)
    top, left = (side - box.height) // 2 - box.top, (side - box.width) // 2 - box.left
    at = slice(inside.top + top, inside.bottom + top), slice(inside.left + left, inside.right + left)
    square[at] = mask
    result: NDArray[np.bool_] = np.rot90(square, quarters)[at].copy()
    rings = np.rint(distances(subject)).astype(np.int64)
    n_rings = int(rings.max()) + 1
    # pixels that each ring has too few of (turned out of the image) or too many (only where the field is not square)
    missing = np.bincount(rings[mask], minlength=n_rings) - np.bincount(rings[result], minlength=n_rings)
    if missing.any():
        surplus = _draw(result, rings, -missing, generator)
        added = _draw(~result, rings, missing, generator)
        result.ravel()[surplus] = False
        result.ravel()[added] = True
    return result


def _draw(
    candidates: NDArray[np.bool_],
    rings: NDArray[np.int64],
    counts: NDArray[np.int64],
    generator: np.random.Generator,
) -> NDArray[np.int64]:
    """Return flat positions of candidates drawn at random, as many in each ring as counted; none where below 1."""
    flat = rings.ravel()
    # shuffled, then sorted by ring in a stable way: the order within a ring is random
    chosen = generator.permutation(np.flatnonzero(candidates.ravel() & (counts[flat] > 0)))
    chosen = chosen[np.argsort(flat[chosen], kind="stable")]
    own = flat[chosen]
    # position within its ring: since own is sorted, the first of a ring is where its number would be inserted
    drawn: NDArray[np.int64] = chosen[np.arange(len(own)) - np.searchsorted(own, own) < counts[own]]
    return drawn
