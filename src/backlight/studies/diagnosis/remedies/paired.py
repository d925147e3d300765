"""Two networks on the same images: what changed between them, and how sure that is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from backlight.studies.intervals import LEVEL, Interval


def paired_change(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> Interval:
    """Return the change of a share between two looks at the same images, with its 95 % interval.

    Args:
        before: (n,) whether each image was right before.
        after: (n,) whether it is right afterwards.

    *Source*: Agresti & Min (2005), Simple improved confidence intervals for comparing matched proportions: Wald's
    interval after half an observation is added to each cell of the table. Where no image changes it has a width all the
    same: of a few images that is no proof that none would.

    *Convention*: the mean is that of the images, without the added halves.

    Example:
        >>> found = paired_change(np.ones(100, bool), np.ones(100, bool))
        >>> found.mean, round(found.low, 3), round(found.high, 3)
        (0.0, -0.019, 0.019)
    """
    n = len(before)
    if not n:
        return Interval(None, None, None, 0)
    gained, lost = int((after & ~before).sum()), int((before & ~after).sum())
    apart, total = gained + lost + 1, n + 2
    difference = (gained - lost) / total
    reach = float(stats.norm.ppf((1 + LEVEL) / 2)) * np.sqrt(apart - total * difference**2) / total
    return Interval((gained - lost) / n, float(difference - reach), float(difference + reach), n)


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
