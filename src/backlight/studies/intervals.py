"""Bootstrap intervals: how far a mean over units can be trusted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

N_RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean and its bootstrap interval.

    Attributes:
        mean: Mean of the samples; None where there are none.
        low: Lower end of the interval that holds 95 % of the resampled means.
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

    @property
    def below_zero(self) -> bool:
        """Whether the whole interval lies below zero."""
        return self.high is not None and self.high < 0


def bootstrap(samples: NDArray[np.floating], seed: int = 0) -> Interval:
    """Return the mean of samples and its percentile bootstrap interval; NaN samples are left out.

    Args:
        samples: (n,), independent of each other: one for each image or feature map, not for each pixel.
        seed: Random seed for the resampling.

    Example:
        >>> found = bootstrap(np.array([1.0, 2.0, 3.0, np.nan]))
        >>> found.n, found.mean, 1 <= found.low <= 2 <= found.high <= 3
        (3, 2.0, True)
    """
    kept = samples[~np.isnan(samples)].astype(np.float64)
    if not len(kept):
        return Interval(None, None, None, 0)
    # each row holds the indices of one resample, as large as the samples, drawn with replacement
    drawn = np.random.default_rng(seed).integers(0, len(kept), (N_RESAMPLES, len(kept)))
    low, high = np.quantile(kept[drawn].mean(1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(kept.mean()), float(low), float(high), len(kept))
