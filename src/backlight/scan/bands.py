"""Bands: for each bin of a feature map's histogram one image, so that weak activations can be seen beside the top hits.

*Convention*: of the images in a bin the one stays whose id has the smallest hash (`mixed`): as good as drawn at random,
and the same in any split and any order of the images. Bin 0, "not active", keeps none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from backlight.scan.mixing import mixed, unmixed
from backlight.scan.statistics import N_BINS

_ARRAYS = ("cells", "hashes", "values", "places")
_NO_HASH = np.uint64(2**64 - 1)


class BandImage(NamedTuple):
    """The example of a bin: the image, its strongest activation, and where that is (-1 for a fully connected unit)."""

    bin: int
    value: float
    image_id: int
    row: int
    col: int


@dataclass(frozen=True)
class Bands:
    """One example for each of the b = N_BINS bins of c feature maps.

    Attributes:
        hashes: (c, b) uint64, the hash of the image's id, which newcomers must stay below; 2^64 - 1 where there is
            none yet. Where there is no example, it may be that of an image that is kept elsewhere (`after`).
        values: (c, b) float32, the image's strongest activation; 0 where there is no example.
        places: (c, b, 2) int32, row and col; -1 for fully connected units, and where there is no example.
    """

    hashes: NDArray[np.uint64]
    values: NDArray[np.float32]
    places: NDArray[np.int32]

    @classmethod
    def empty(cls, n_maps: int) -> Bands:
        """Return the examples of no image."""
        hashes = np.full((n_maps, N_BINS), _NO_HASH)
        hashes[:, 0] = 0  # no hash is smaller: nothing enters bin 0
        return cls(hashes, np.zeros((n_maps, N_BINS), np.float32), np.full((n_maps, N_BINS, 2), -1, np.int32))

    def after(self) -> Bands:
        """Return examples of no image to which only those are added that can stay in a merge with these."""
        return Bands(self.hashes, np.zeros_like(self.values), np.full_like(self.places, -1))

    def add(
        self,
        maxima: NDArray[np.float32],
        bins: NDArray[np.intp],
        image_ids: NDArray[np.int64],
        places: NDArray[np.int32],
    ) -> Bands:
        """Return the examples with a batch of images added.

        Args:
            maxima: (n, c) strongest activation of each image and map.
            bins: (n, c) their bins.
            image_ids: (n,) ids that have not been added yet.
            places: (n, c, 2) row and column of the strongest activations.
        """
        hashes = mixed(image_ids)
        # (n, c) places of the images' bins in the flat arrays
        cells = bins + np.arange(bins.shape[1]) * N_BINS
        images, maps = np.nonzero(hashes[:, None] < self.hashes.ravel()[cells])
        # Sorted by hash, so that of several images in one bin the one that stays comes first.
        order = np.argsort(hashes[images], kind="stable")
        entered, first = np.unique(cells[images, maps][order], return_index=True)
        images, maps = images[order[first]], maps[order[first]]
        return self._with(entered, hashes[images], maxima[images, maps], places[images, maps])

    def merge(self, other: Bands) -> Bands:
        """Return the examples of both sets of images, which have no image in common."""
        cells, hashes, values, places = other.to_arrays().values()
        # Where only the hash of an image that is kept elsewhere stands, any example may: that image comes in a merge of
        # its own, and is compared then.
        takes = (self.values.ravel()[cells] == 0) | (hashes < self.hashes.ravel()[cells])
        return self._with(cells[takes], hashes[takes], values[takes], places[takes])

    def _with(
        self,
        cells: NDArray[np.intp],
        hashes: NDArray[np.uint64],
        values: NDArray[np.float32],
        places: NDArray[np.int32],
    ) -> Bands:
        """Return the examples, those of (m,) cells of the flat arrays replaced."""
        if not len(cells):
            return self
        # A copy, as callers keep the old ones: an error in a later layer must leave the scan as it was.
        result = Bands(self.hashes.copy(), self.values.copy(), self.places.copy())
        result.hashes.reshape(-1)[cells], result.values.reshape(-1)[cells] = hashes, values
        result.places.reshape(-1, 2)[cells] = places
        return result

    def of(self, channel: int) -> Iterator[BandImage]:
        """Yield the examples of a map, bin by bin."""
        for b in np.flatnonzero(self.values[channel] > 0):
            (image_id,) = unmixed(self.hashes[channel, b : b + 1])
            row, col = self.places[channel, b]
            yield BandImage(int(b), float(self.values[channel, b]), int(image_id), int(row), int(col))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the examples as plain arrays of e entries, in the order of maps and bins: most bins have none."""
        cells = np.flatnonzero(self.values > 0)
        flat = (self.hashes.reshape(-1), self.values.reshape(-1), self.places.reshape(-1, 2))
        arrays = (cells, *(array[cells] for array in flat))
        return {f"band_{name}": array for name, array in zip(_ARRAYS, arrays, strict=True)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], n_maps: int) -> Bands | None:
        """Return the examples that `to_arrays` gave the arrays of; None where an earlier version kept none."""
        if "band_cells" not in arrays:
            return None
        return cls.empty(n_maps)._with(*(arrays[f"band_{name}"] for name in _ARRAYS))
