"""Numbers of which some are missing (NaN): their means, and what JSON holds of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def nanmean(values: NDArray[np.floating], axis: int = 0) -> NDArray[np.float64]:
    """Return the mean along an axis of what is there; NaN, without a warning, where nothing is.

    Example:
        >>> nanmean(np.array([[1.0, np.nan], [3.0, np.nan]])).tolist()
        [2.0, nan]
    """
    kept = ~np.isnan(values)
    total, count = np.where(kept, values, 0).sum(axis), kept.sum(axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def plain(value: float) -> float | None:
    """Return a number as JSON holds it: None for NaN.

    Example:
        >>> plain(0.5), plain(float("nan"))
        (0.5, None)
    """
    return None if np.isnan(value) else value
