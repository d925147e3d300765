"""The filters of the feature maps that a layer shows: how alike they are, in one atlas and in two."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class MapFilters:
    """The filters that make some feature maps of a layer, one for each.

    They are as the network has them: what a batch norm behind the convolution scales is not in them.

    Attributes:
        channels: The feature maps.
        weights: Their filters (n, c, kh, kw), in the order of `channels`.
        groups: The group of the convolution that each belongs to: filters of two groups read different maps.
    """

    channels: tuple[int, ...]
    weights: NDArray[np.float32]
    groups: tuple[int, ...]

    @cached_property
    def _directions(self) -> NDArray[np.float64]:
        """The filters as rows (n, c kh kw) of length 1; zeros of a filter that is all zeros or not finite."""
        rows = self.weights.reshape(len(self.weights), -1).astype(np.float64)
        rows = np.where(self._is_finite[:, None], rows, 0)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        found: NDArray[np.float64] = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
        return found

    @cached_property
    def _is_finite(self) -> NDArray[np.bool_]:
        return np.array([np.isfinite(own).all() for own in self.weights], np.bool_)

    def cosines(self, channel: int) -> dict[int, float]:
        """Return the cosine of the angle between a map's filter and that of each other map of its group, -1 to 1.

        It is 0 where one of the two is all zeros. Filters with weights that are not finite have none.
        """
        at = self.channels.index(channel)
        found = np.clip(self._directions @ self._directions[at], -1, 1)
        alike = [
            i
            for i, group in enumerate(self.groups)
            if i != at and group == self.groups[at] and self._is_finite[i]
        ]
        return {self.channels[i]: float(found[i]) for i in alike} if self._is_finite[at] else {}

    def distances(self, other: MapFilters) -> dict[int, float]:
        """Return the cosine distance of each map's filter from its namesake's in another network, 0 to 2.

        It is 0 for filters of the same direction, 1 where only one of the two is all zeros. Left out are maps that only
        one of them has, filters of another size, and those with weights that are not finite.
        """
        places = {own: i for i, own in enumerate(other.channels)}
        found = {}
        for i, channel in enumerate(self.channels):
            k = places.get(channel)
            if k is None or self.weights.shape[1:] != other.weights.shape[1:]:
                continue
            if self._is_finite[i] and other._is_finite[k]:
                # without the first, rounding would move equal filters apart, and two that are all zeros would be at 1
                is_same = np.array_equal(self.weights[i], other.weights[k])
                cosine = float(self._directions[i] @ other._directions[k])
                found[channel] = 0.0 if is_same else float(np.clip(1 - cosine, 0, 2))
        return found
