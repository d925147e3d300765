"""The mergeable top-k: the strongest hits of every feature map, one an image, in a total order.

*Convention*: hits are ordered by value descending, then image id, row, col. Any split of the images, in any
order, merges to the same hits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class TopHits:
    """The top hits of c feature maps, k places each; an empty place has image id -1.

    Attributes:
        values: (c, k) float32; of an empty place -inf, or a bar that hits have to reach (`after`).
        image_ids: (c, k) int64.
        places: (c, k, 2) int32, row and col; -1 for fully connected units.
    """

    values: NDArray[np.float32]
    image_ids: NDArray[np.int64]
    places: NDArray[np.int32]

    @classmethod
    def empty(cls, n_maps: int, top: int) -> TopHits:
        """Return the hits of no image."""
        return cls(
            np.full((n_maps, top), -np.inf, np.float32),
            np.full((n_maps, top), -1, np.int64),
            np.full((n_maps, top, 2), -1, np.int32),
        )

    def after(self) -> TopHits:
        """Return hits of no image to which only those are added that can stay in a merge with these.

        Its k empty places of each map hold the weakest value that is kept here, as a bar: what is weaker would lose
        against k hits. So adding batches stays cheap, since most maps see no newcomer, and the merge is the same.
        """
        bars = np.broadcast_to(self.values[:, -1:], self.values.shape).copy()
        return TopHits(bars, np.full_like(self.image_ids, -1), np.full_like(self.places, -1))

    def add(
        self, maxima: NDArray[np.float32], image_ids: NDArray[np.int64], places: NDArray[np.int32]
    ) -> TopHits:
        """Return the hits with a batch of images added.

        Args:
            maxima: (n, c) strongest activation of each image and map.
            image_ids: (n,) ids that are not among the hits yet.
            places: (n, c, 2) row and column of the strongest activations.
        """
        if not len(image_ids):
            return self
        # Most maps see no newcomer: (m,) those whose weakest hit is reached by an image of the batch. An equal value is
        # enough, as of two the lower image id wins, and any value reaches an empty place, of -inf.
        entered = np.flatnonzero(maxima.max(0) >= self.values[:, -1])
        # The batch as hits of those maps, one an image: values (m, n), ids (m, n), places (m, n, 2).
        ids = np.broadcast_to(image_ids, (len(entered), len(image_ids)))
        newcomers = TopHits(maxima.T[entered], ids, places.transpose(1, 0, 2)[entered])
        return self._with(entered, newcomers)

    def merge(self, other: TopHits) -> TopHits:
        """Return the hits of both sets of images, which have no image in common."""
        # Late in a scan most maps have no newcomer: all places of the other's are empty, or bars of `after`.
        entered = np.flatnonzero((other.image_ids >= 0).any(1))
        return self._with(entered, other._of(entered))

    def _of(self, maps: NDArray[np.intp]) -> TopHits:
        return TopHits(self.values[maps], self.image_ids[maps], self.places[maps])

    def _with(self, maps: NDArray[np.intp], newcomers: TopHits) -> TopHits:
        """Return the hits, with newcomers of some maps: (m,) which maps, and their (m, n) further hits."""
        merged = _best(self._of(maps), newcomers)
        # A copy, as callers keep the old hits: an error in a later layer must leave the scan as it was.
        result = TopHits(self.values.copy(), self.image_ids.copy(), self.places.copy())
        result.values[maps], result.image_ids[maps], result.places[maps] = (
            merged.values,
            merged.image_ids,
            merged.places,
        )
        return result


def _best(hits: TopHits, others: TopHits) -> TopHits:
    """Return the k best of (c, k) hits and (c, n) others of the same maps."""
    # (c, k + n) candidates of each map, sorted along the last axis; the first k stay. A bar is sorted by its value,
    # behind every hit that reaches it, so it never takes the place of a hit that counts.
    values = np.concatenate([hits.values, others.values], axis=1)
    ids = np.concatenate([hits.image_ids, others.image_ids], axis=1)
    places = np.concatenate([hits.places, others.places], axis=1)
    order = _order(values, ids)[:, : hits.values.shape[1]]
    return TopHits(
        np.take_along_axis(values, order, 1),
        np.take_along_axis(ids, order, 1),
        np.take_along_axis(places, order[:, :, None], 1),  # (c, k, 1) for both row and col
    )


def _order(values: NDArray[np.float32], ids: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return the order of hits along the last axis; empty places, whose id is -1, come last."""
    # lexsort takes the most important key last. One image has one hit of a map, so value and id decide every tie.
    last_id = np.where(ids < 0, np.iinfo(np.int64).max, ids)
    return np.lexsort((last_id, -values), axis=-1)
