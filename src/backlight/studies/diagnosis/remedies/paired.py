"""Two networks on the same images: what changed between them, and how sure that is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import brentq

from backlight.studies.intervals import LEVEL, Interval

_Z = float(stats.norm.ppf((1 + LEVEL) / 2))
_FAR, _EDGE = 1e6, 1e-9


def paired_change(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> Interval:
    """Return the change of a share between two looks at the same images, with its 95 % interval.

    Args:
        before: (n,) whether each image was right before.
        after: (n,) whether it is right afterwards.

    *Source*: Tango (1998), Equivalence test and confidence interval for the difference in proportions for the
    paired-sample design: the changes that a score test does not reject. Where no image changes it has a width all the
    same: that a few images stay does not prove that others would.

    Example:
        >>> found = paired_change(np.ones(100, bool), np.ones(100, bool))
        >>> found.mean, round(found.low, 3), round(found.high, 3)
        (0.0, -0.037, 0.037)
    """
    n = len(before)
    if not n:
        return Interval(None, None, None, 0)
    gained, lost = int((after & ~before).sum()), int((before & ~after).sum())
    mean = (gained - lost) / n

    def beyond(change: float, side: int) -> float:
        return float(np.clip(_score(change, gained, lost, n), -_FAR, _FAR)) - side * _Z

    low = brentq(beyond, -1 + _EDGE, mean, (1,)) if mean > -1 + _EDGE else -1.0
    high = brentq(beyond, mean, 1 - _EDGE, (-1,)) if mean < 1 - _EDGE else 1.0
    return Interval(mean, float(low), float(high), n)


def _score(change: float, gained: int, lost: int, n: int) -> float:
    """Return by how many deviations a table differs from what a change of the share would make likely."""
    # the likeliest share of images that are lost, given the change: the root of a q^2 + b q + c
    a, b = 2 * n, (2 * n - gained + lost) * change - gained - lost
    c = -lost * change * (1 - change)
    share_lost = (np.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = n * (2 * share_lost + change * (1 - change))
    off = gained - lost - n * change
    return float(off / np.sqrt(variance)) if variance > 0 else float(np.sign(off) * _FAR)


def mcnemar_p(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> float:
    """Return the exact two-sided p that images change for the better as often as for the worse; 1 where none changes.

    *Source*: McNemar (1947), Note on the sampling error of the difference between correlated proportions.

    Example:
        >>> mcnemar_p(np.array([True, True, True]), np.array([False, False, False]))
        0.25
    """
    gained, lost = int((after & ~before).sum()), int((before & ~after).sum())
    return float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def share(right: NDArray[np.bool_]) -> Interval:
    """Return the share of images that are right, with Wilson's 95 % interval.

    Example:
        >>> found = share(np.ones(20, bool))
        >>> found.mean, round(found.low, 2), found.high
        (1.0, 0.84, 1.0)
    """
    n = len(right)
    if not n:
        return Interval(None, None, None, 0)
    ends = stats.binomtest(int(right.sum()), n).proportion_ci(LEVEL, method="wilson")
    return Interval(float(right.mean()), float(ends.low), float(ends.high), n)
