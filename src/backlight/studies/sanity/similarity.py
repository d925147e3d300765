"""How similar two projections are: Spearman's rank correlation, SSIM and the correlation of HOG descriptors.

*Source*: Adebayo et al. (2018), appendix: rank correlation with and without signs, SSIM with a window of 5 pixels,
Pearson's correlation of HOG descriptors of cells of 16 pixels on maps scaled to [-1, 1]. *Differs*: cells are smaller
where the map is smaller than 4 of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

METRICS = ("spearman", "spearman of magnitudes", "ssim", "hog")
TITLES = dict(
    zip(
        METRICS,
        ("rank correlation", "rank correlation of magnitudes", "structure (SSIM)", "edges (HOG)"),
        strict=True,
    )
)
"""What the figure calls the measures."""
_SSIM_WINDOW = 5
_CELL, _MOST_CELLS = 16, 4


def similarities(one: NDArray[np.floating], other: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return how similar two projections (c, h, w) are by each of METRICS; NaN where one is zero or too small.

    *Convention*: rank correlations run over the pixels of all channels. SSIM compares the magnitudes summed over
    channels, HOG the sums over channels, each scaled by its largest magnitude.

    Example:
        >>> similarities(np.arange(192.0).reshape(3, 8, 8), 2 * np.arange(192.0).reshape(3, 8, 8)).round(6).tolist()
        [1.0, 1.0, 1.0, 1.0]
    """
    from scipy.stats import rankdata  # slow to import

    if not one.any() or not other.any():
        return np.full(len(METRICS), np.nan)
    # Spearman's correlation is Pearson's of the ranks, where ties share their mean rank; ranks run over c·h·w values.
    return np.array(
        [
            _pearson(rankdata(one), rankdata(other)),
            _pearson(rankdata(np.abs(one)), rankdata(np.abs(other))),
            _ssim(np.abs(one).sum(0), np.abs(other).sum(0)),
            _hog(one.sum(0), other.sum(0)),
        ]
    )


def _pearson(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    # the cosine of the centred values
    one, other = one.ravel() - one.mean(), other.ravel() - other.mean()
    norm = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / norm if norm else np.nan


def _ssim(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    from skimage.metrics import structural_similarity

    if min(one.shape) < _SSIM_WINDOW:
        return np.nan
    # magnitudes of projections that are not all zero: the largest is above 0
    scaled = [values / values.max() for values in (one, other)]
    return float(structural_similarity(*scaled, win_size=_SSIM_WINDOW, data_range=1.0))  # type: ignore[no-untyped-call]


def _hog(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    from skimage.feature import hog

    # at least 4 cells along the shorter side; channels may cancel, so a sum can be zero where its projection was not
    cell = min(_CELL, min(one.shape) // _MOST_CELLS)
    if cell < 2 or not one.any() or not other.any():
        return np.nan
    scaled = [values / np.abs(values).max() for values in (one, other)]
    return _pearson(*(hog(v, pixels_per_cell=(cell, cell), cells_per_block=(1, 1)) for v in scaled))
