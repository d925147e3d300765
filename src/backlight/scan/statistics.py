"""Statistics of every feature map over a set of images, mergeable.

All of it adds up exactly, so that no order of images and no split of a set shows in a bit of the result: the histogram
of the per-image maxima has fixed edges, and the means are summed in parts that float64 adds without rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HISTOGRAM_EDGES: NDArray[np.float64] = np.concatenate([[0.0], 2.0 ** (np.arange(-48, 49) / 4)])
"""Edges of the histogram: bin 0 is "not active" (at most 0), then (0, 2^-12], quarter octaves to 2^12, above."""

N_BINS = len(HISTOGRAM_EDGES) + 1

# The largest float32 up to each edge: no float32 lies between the two, and comparing float32 with float32 is faster.
# Rounding to float32 may go up, past the edge: then the next one down.
_NEAREST = HISTOGRAM_EDGES.astype(np.float32)
_EDGES = np.where(_NEAREST > HISTOGRAM_EDGES, np.nextafter(_NEAREST, np.float32(-np.inf)), _NEAREST)

_GRIDS = 2.0**-12, 2.0**-44
"""Of a float32 its multiple of the first grid, the rest's multiple of the second, and what is left are summed apart.

A float64 has 53 bits. So sums are exact up to 2^41 in the first part, and for 2^21 images in the others, unless a mean
has bits below 2^-77: smaller than 1e-16 itself.
"""


def bins_of(maxima: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return the bin of each value in the histogram.

    *Convention*: a value on an edge belongs below it, so that 0 is "not active".
    """
    return np.searchsorted(_EDGES, maxima, side="left")


@dataclass(frozen=True)
class MapStatistics:
    """Statistics of c feature maps.

    Attributes:
        n_images: Number of images.
        sum_parts: (3, c) float64, the sum over images of the map's mean activation, in parts that add up exactly.
        maxima: (c,) float32, the strongest activation; -inf without images.
        n_active: (c,) int64, images in which the map is active anywhere (above 0).
        histogram: (c, N_BINS) int64, per-image maxima by HISTOGRAM_EDGES.
    """

    n_images: int
    sum_parts: NDArray[np.float64]
    maxima: NDArray[np.float32]
    n_active: NDArray[np.int64]
    histogram: NDArray[np.int64]

    @classmethod
    def empty(cls, n_maps: int) -> MapStatistics:
        """Return the statistics of no image."""
        return cls(
            0,
            np.zeros((len(_GRIDS) + 1, n_maps)),
            np.full(n_maps, -np.inf, np.float32),
            np.zeros(n_maps, np.int64),
            np.zeros((n_maps, N_BINS), np.int64),
        )

    def add(
        self,
        maxima: NDArray[np.float32],
        means: NDArray[np.float32],
        bins: NDArray[np.intp] | None = None,
    ) -> MapStatistics:
        """Return the statistics with a batch added: (n, c) per-image maxima and means, and the bins of the maxima."""
        n_images, n_maps = maxima.shape
        if not n_images:
            return self
        # (n, c) bins, counted for all maps at once: those of map i are numbered from i * N_BINS.
        flat = (bins_of(maxima) if bins is None else bins) + np.arange(n_maps) * N_BINS
        histogram = np.bincount(flat.ravel(), minlength=n_maps * N_BINS).reshape(n_maps, N_BINS)
        return MapStatistics(
            self.n_images + n_images,
            self.sum_parts + _exact_sums(means),
            np.maximum(self.maxima, maxima.max(0)),
            self.n_active + (maxima > 0).sum(0),
            self.histogram + histogram,
        )

    def merge(self, other: MapStatistics) -> MapStatistics:
        """Return the statistics of both sets of images."""
        return MapStatistics(
            self.n_images + other.n_images,
            self.sum_parts + other.sum_parts,
            np.maximum(self.maxima, other.maxima),
            self.n_active + other.n_active,
            self.histogram + other.histogram,
        )

    @property
    def sums(self) -> NDArray[np.float64]:
        """(c,) the sum over images of the map's mean activation."""
        return np.asarray(self.sum_parts.sum(0))

    @property
    def means(self) -> NDArray[np.float32]:
        """(c,) mean activation over all positions of all images."""
        return np.asarray(self.sums / max(self.n_images, 1), np.float32)

    @property
    def active_shares(self) -> NDArray[np.float64]:
        """(c,) share of images in which the map is active anywhere, 0 to 1."""
        return np.asarray(self.n_active / max(self.n_images, 1))


def _exact_sums(means: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the sums (3, c) over the images of means (n, c), in the parts of `_GRIDS`."""
    rest, parts = means.astype(np.float64), []
    for grid in _GRIDS:
        # The nearest multiple of the grid; at most half a grid is left, of either sign. Grids are powers of two, so the
        # division, the product and the rest are exact; a sum of multiples of the grid is one too, and has few bits.
        part = np.rint(rest / grid) * grid
        parts.append(part.sum(0))
        rest -= part
    return np.stack([*parts, rest.sum(0)])
