"""How much changes between two steps: of a picture, of a filter, of a layer; and from when on a layer is settled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MEASURES = ("projections", "filters", "images")
"""What can settle: `LayerChanges` has a curve for each."""


@dataclass(frozen=True, eq=False)
class LayerChanges:
    """How much a layer changed from each step to the next: curves of n steps less one.

    Attributes:
        projections: Mean of 1 - correlation of the two projections of a map, 0 to 2, over all sampled maps.
        same_units: The same over those maps whose strongest unit is the same one in the same image; NaN where none is.
        n_same: How many those are.
        filters: Mean over the sampled maps of the length of the difference of a map's two filters, relative to the
            longer of both; NaN where no map has a filter.
        directions: Mean of 1 - cosine of the two filters, 0 to 2.
        images: Share of all maps of the layer whose strongest image is another one.
    """

    projections: NDArray[np.float64]
    same_units: NDArray[np.float64]
    n_same: NDArray[np.int64]
    filters: NDArray[np.float64]
    directions: NDArray[np.float64]
    images: NDArray[np.float64]


def unlikeness(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """Return 1 - Pearson's correlation of two projections of one size.

    *Convention*: equal projections are exactly 0 apart, two that are empty among them; one that is empty (of a map that
    is not active in any image), or even, is 1 from every other.

    Example:
        >>> picture = np.array([0.0, 1.0, 3.0])
        >>> unlikeness(picture, picture), round(unlikeness(picture, -picture), 9), unlikeness(picture, np.zeros(3))
        (0.0, 2.0, 1.0)
    """
    if np.array_equal(one, other):
        return 0.0
    a, b = (np.asarray(own, np.float64).ravel() - np.mean(own, dtype=np.float64) for own in (one, other))
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return 1.0 if lengths == 0 else float(np.clip(1 - a @ b / lengths, 0, 2))


def relative_changes(filters: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return (n - 1,) the length of the difference of a filter at each of n steps, (n, f), from that at the next.

    *Convention*: relative to the longer of both; 0 where both are zero.

    Example:
        >>> relative_changes(np.array([[3.0, 4.0], [3.0, 0.0], [3.0, 0.0]])).tolist()
        [0.8, 0.0]
    """
    rows = np.asarray(filters, np.float64)
    lengths = np.linalg.norm(rows, axis=1)
    longer = np.maximum(lengths[1:], lengths[:-1])
    moved: NDArray[np.float64] = np.linalg.norm(np.diff(rows, axis=0), axis=1)
    return moved / np.where(longer > 0, longer, 1)


def turns(filters: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return (n - 1,) 1 - cosine of a filter at each of n steps, (n, f), and at the next.

    *Convention*: exactly 0 for equal ones, 1 where one alone is zero.

    Example:
        >>> turns(np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 2.0]])).tolist()
        [0.0, 1.0]
    """
    rows = np.asarray(filters, np.float64)
    lengths = np.linalg.norm(rows, axis=1)
    product = lengths[1:] * lengths[:-1]
    cosines = (rows[1:] * rows[:-1]).sum(1) / np.where(product > 0, product, 1)
    equal = (rows[1:] == rows[:-1]).all(1)
    found: NDArray[np.float64] = np.where(equal, 0, np.clip(1 - cosines, 0, 2))
    return found


def settled_at(changes: NDArray[np.float64], share: float) -> int | None:
    """Return the first step after which no more than a share of the total change comes.

    Args:
        changes: (n - 1,) how much changed from each of n steps to the next; NaN counts as nothing.
        share: 0 to 1.

    Returns:
        The place of the step, 0 for the first; None where nothing is known of the changes.

    Example:
        >>> settled_at(np.array([0.5, 0.45, 0.05, 0.0]), 0.1), settled_at(np.zeros(3), 0.1)
        (2, 0)
    """
    if not len(changes) or np.isnan(changes).all():
        return None
    known = np.nan_to_num(changes)
    # (n,) what is still to come after each step: all of it after the first, nothing after the last
    to_come = np.append(np.cumsum(known[::-1])[::-1], 0.0)
    # compared with a margin for rounding, so that a share which is reached exactly counts
    return int(np.argmax(to_come <= share * to_come[0] * (1 + 1e-9)))
