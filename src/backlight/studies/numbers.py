"""Numbers of which some are missing (NaN): their means and spreads, and how JSON and NumPy hold them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # torch takes seconds to import, and results are read without it
    from torch import Tensor


def nanmean(values: NDArray[np.floating], axis: int = 0) -> NDArray[np.float64]:
    """Return the mean along an axis of what is not NaN; NaN, without a warning, where nothing is left.

    Example:
        >>> nanmean(np.array([[1.0, np.nan], [3.0, np.nan]])).tolist()
        [2.0, nan]
    """
    kept = ~np.isnan(values)
    total, count = np.where(kept, values, 0).sum(axis), kept.sum(axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def mean_and_spread(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean and standard deviation along the last axis of what is not NaN; NaN where nothing is left.

    Example:
        >>> mean_and_spread(np.array([[1.0, 3.0, np.nan]]))
        (array([2.]), array([1.]))
    """
    mean = nanmean(values, -1)
    return mean, np.asarray(np.sqrt(nanmean((values - mean[..., None]) ** 2, -1)))


def plain(value: float) -> float | None:
    """Return a number as JSON holds it: None for NaN.

    Example:
        >>> plain(0.5), plain(float("nan"))
        (0.5, None)
    """
    return None if np.isnan(value) else value


def as_array(values: Tensor) -> NDArray[np.floating]:
    """Return a tensor's values in its own precision, or as float32 where it is lower: NumPy has no bfloat16.

    Example:
        >>> import torch
        >>> as_array(torch.ones(1, dtype=torch.float64)).dtype, as_array(torch.ones(1, dtype=torch.bfloat16)).dtype
        (dtype('float64'), dtype('float32'))
    """
    found: NDArray[np.floating] = (values if values.element_size() == 8 else values.float()).cpu().numpy()
    return found
