"""How far a mean over a few units can be trusted: t intervals, exact sign-flip tests, corrections for many tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import stats

LEVEL = 0.95
P_LIMIT = 1 - LEVEL
_MOST_EXACT = 14
_N_FLIPS = 2**_MOST_EXACT
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % t interval.

    Attributes:
        mean: Mean of the samples; None where there are none.
        low: Lower end of the interval; None of fewer than two samples, of which no spread is known.
        high: Upper end.
        n: Number of samples.
    """

    mean: float | None
    low: float | None
    high: float | None
    n: int

    @property
    def above_zero(self) -> bool:
        """Whether the whole interval lies above zero."""
        return self.low is not None and self.low > 0


def mean_interval(samples: NDArray[np.floating]) -> Interval:
    """Return the mean of samples and its 95 % t interval; NaN samples are left out.

    Args:
        samples: (n,), independent of each other: one for each image or feature map, not for each pixel.

    *Convention*: Student's interval, not a percentile bootstrap: of 3 samples the bootstrap's 95 % interval misses the
    true mean in about a quarter of cases.

    Example:
        >>> found = mean_interval(np.array([1.0, 2.0, 3.0, np.nan]))
        >>> found.n, found.mean, round(found.low, 2), round(found.high, 2)
        (3, 2.0, -0.48, 4.48)
    """
    kept = samples[~np.isnan(samples)].astype(np.float64)
    if not len(kept):
        return Interval(None, None, None, 0)
    mean = float(kept.mean())
    if len(kept) == 1:
        return Interval(mean, None, None, 1)
    reach = float(stats.t.ppf((1 + LEVEL) / 2, len(kept) - 1) * kept.std(ddof=1) / np.sqrt(len(kept)))
    return Interval(mean, mean - reach, mean + reach, len(kept))


def sign_flip_p(differences: NDArray[np.floating], seed: int = 0) -> float | None:
    """Return the two-sided p of a sign-flip test that differences are symmetric around zero; None of none.

    Args:
        differences: (n,) paired differences, independent of each other; NaN are left out.
        seed: Random seed, used from 15 differences on.

    *Convention*: exact up to 14 differences (all signs are tried), above them 16,384 random signs. The smallest p of n
    differences is 2 / 2^n: 0.25 for 3, 0.004 for 9.

    *Source*: Fisher (1935), The Design of Experiments, section 21.

    Example:
        >>> sign_flip_p(np.array([0.1, 0.2, 0.3])), sign_flip_p(np.array([-0.1, 0.2, 0.3]))
        (0.25, 0.5)
    """
    kept = differences[~np.isnan(differences)].astype(np.float64)
    if not len(kept):
        return None
    exact = len(kept) <= _MOST_EXACT
    signs = _all_signs(len(kept)) if exact else _drawn_signs(len(kept), seed)
    sums = np.abs(signs @ kept)  # one for each choice of signs
    # equal sums may differ in their last bits, as they are added in another order
    n_as_large = int((sums >= abs(kept.sum()) * (1 - _ROUNDING)).sum())
    # all signs hold the one that was found; drawn ones may not, so it is counted with them
    return n_as_large / len(sums) if exact else (n_as_large + 1) / (len(sums) + 1)


@cache
def _all_signs(n: int) -> NDArray[np.float64]:
    """Return every choice of n signs, (2^n, n)."""
    signs: NDArray[np.float64] = np.where((np.arange(2**n)[:, None] >> np.arange(n)) & 1, -1.0, 1.0)
    return signs


@lru_cache(4)
def _drawn_signs(n: int, seed: int) -> NDArray[np.float64]:
    signs: NDArray[np.float64] = np.random.default_rng(seed).choice([-1.0, 1.0], (_N_FLIPS, n))
    return signs


def holm(p_values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Return p values corrected for being several: one of them at most 0.05 by chance in at most 5 % of cases.

    *Source*: Holm (1979), A simple sequentially rejective multiple test procedure. None stays None and does not count.

    Example:
        >>> holm({"a": 0.01, "b": 0.04, "c": None})
        {'a': 0.02, 'b': 0.04, 'c': None}
    """
    known = sorted((p, name) for name, p in p_values.items() if p is not None)
    found: dict[str, float | None] = dict.fromkeys(p_values)
    largest = 0.0
    for i, (p, name) in enumerate(known):
        # the smallest is multiplied by the number of tests, the next by one less; the order of the p values is kept
        largest = max(largest, min(1.0, p * (len(known) - i)))
        found[name] = largest
    return found


def false_discoveries(p_values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return p values corrected so that of those up to 0.05 at most 5 % are expected to be wrong; NaN stays NaN.

    *Source*: Benjamini & Hochberg (1995), Controlling the false discovery rate.

    Example:
        >>> false_discoveries(np.array([0.01, 0.04, np.nan])).tolist()
        [0.02, 0.04, nan]
    """
    found = np.full(p_values.shape, np.nan)
    known = ~np.isnan(p_values)
    if known.any():
        found[known] = stats.false_discovery_control(p_values[known])
    return found


def share_interval(n_hits: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of which n_hits of n independent samples were seen.

    *Source*: Clopper & Pearson (1934), which never covers the true share in less than 95 % of cases. Of none or all of
    n it is one-sided, so that its end is the rule of three: about 3 / n.

    Example:
        >>> [round(end, 3) for end in share_interval(5, 10)], share_interval(0, 0)
        ([0.187, 0.813], (0.0, 1.0))
        >>> round(share_interval(0, 300)[1] * 300, 2)
        2.98
    """
    if n == 0:
        return 0.0, 1.0
    tail = P_LIMIT if n_hits in (0, n) else P_LIMIT / 2
    low = 0.0 if n_hits == 0 else float(stats.beta.ppf(tail, n_hits, n - n_hits + 1))
    high = 1.0 if n_hits == n else float(stats.beta.ppf(1 - tail, n_hits + 1, n - n_hits))
    return low, high
