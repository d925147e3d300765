"""Squares over a receptive field, what lies under them, and how two things agree over them."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from backlight.geometry import Box

LEAST_STRIDE, MOST_PLACES = 2, 8


def squares_over(box: Box, inside: Box, share: float, stride: int | None = None) -> list[Box]:
    """Return squares that slide over the part of a field inside the image, the last ones flush with its edges.

    Args:
        box: The receptive field.
        inside: The part of it inside the image.
        share: Side of a square, as a share of the field's shorter side; of the image's where a square would cover it.
        stride: Pixels from one to the next; None for 2, or more where that gives over 8 places along a side.

    Example:
        >>> [(own.top, own.left) for own in squares_over(Box(0, 0, 5, 5), Box(0, 0, 5, 4), 0.5)]
        [(0, 0), (0, 2), (2, 0), (2, 2), (3, 0), (3, 2)]
    """
    side = max(1, round(share * min(box.height, box.width)))
    if side >= max(inside.height, inside.width):
        # the field is far larger than the image: one square would cover all of it and tell nothing
        side = max(1, round(share * min(inside.height, inside.width)))
    height, width = min(side, inside.height), min(side, inside.width)
    rows = _places(inside.top, inside.bottom - height, stride)
    cols = _places(inside.left, inside.right - width, stride)
    return [Box(row, col, row + height, col + width) for row in rows for col in cols]


def _places(first: int, last: int, stride: int | None) -> list[int]:
    step = stride or max(LEAST_STRIDE, ceil((last - first) / (MOST_PLACES - 1)))
    return [*range(first, last, step), last]


def sums_under(values: NDArray[np.floating], squares: Sequence[Box], at: Box) -> NDArray[np.float64]:
    """Return the sum of values (h, w), which lie at a box, under each of k squares, (k,).

    Example:
        >>> sums_under(np.arange(4.0).reshape(2, 2), [Box(5, 5, 7, 6)], Box(5, 5, 7, 7))
        array([2.])
    """
    # table[i, j]: the sum of all values above row i and left of column j, so four entries give any rectangle's sum
    table = np.zeros((values.shape[0] + 1, values.shape[1] + 1))
    table[1:, 1:] = values.astype(np.float64).cumsum(0).cumsum(1)
    top, left, bottom, right = np.array(
        [(s.top - at.top, s.left - at.left, s.bottom - at.top, s.right - at.left) for s in squares]
    ).T
    sums: NDArray[np.float64] = (
        table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]
    )
    return sums


def rank_correlation(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Return Spearman's correlation of two series; NaN where one of them does not vary.

    Example:
        >>> rank_correlation(np.array([1.0, 2.0, 9.0]), np.array([0.0, 1.0, 2.0]))
        1.0
    """
    return _pearson(stats.rankdata(first), stats.rankdata(second))


def partial_correlation(
    first: NDArray[np.floating], second: NDArray[np.floating], given: NDArray[np.floating]
) -> float:
    """Return the partial rank correlation of two series given a third; NaN where nothing of one is left to vary.

    *Convention*: the correlation of what is left of the ranks after a straight line in the ranks of the third.

    Example:
        >>> distance = np.array([0.0, 1.0, 2.0, 3.0])
        >>> partial_correlation(distance + [0, 0, 0.1, 0], distance, distance)
        nan
    """
    ranks = [stats.rankdata(own) for own in (first, second, given)]
    a, b, line = (own - own.mean() for own in ranks)
    length = line @ line
    if length > 0:
        a, b = a - line * (a @ line) / length, b - line * (b @ line) / length
    return _pearson(a, b)


def _pearson(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    a, b = first - first.mean(), second - second.mean()
    scale = np.sqrt((a @ a) * (b @ b))
    # ranks are whole numbers or halves: below this there is nothing but rounding
    return float(a @ b / scale) if scale > 1e-9 * len(a) else float("nan")
