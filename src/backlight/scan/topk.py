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
        return self.add_reaching(self.values[:, -1:] <= maxima.T, maxima, image_ids, places)

    def add_reaching(
        self,
        reaching: NDArray[np.bool_],
        maxima: NDArray[np.float32],
        image_ids: NDArray[np.int64],
        places: NDArray[np.int32],
    ) -> TopHits:
        """Return the hits with those images of a batch added that reach the weakest hit of a map.

        Args:
            reaching: (c, n) which images are added to which map: those whose value is at least that of the map's last
                place. An equal value is enough, as of two the lower image id wins; any reaches an empty place, of -inf.
            maxima: (n, m) as for `add`; map i of the hits reads column i modulo m.
            image_ids: (n,) as for `add`.
            places: (n, m, 2) as for `add`.
        """
        # Most maps see no newcomer, and few images reach one that does: (e,) the maps with newcomers. In one list, map
        # by map, all newcomers, each with its row among the e maps, its image, and its place among those of its map.
        entered = np.flatnonzero(reaching.any(1))
        if not len(entered):
            return self
        rows, images = np.nonzero(reaching[entered])
        counts = np.bincount(rows)
        at = rows, np.arange(len(rows)) - np.repeat(counts.cumsum() - counts, counts)
        maps = entered[rows] % maxima.shape[1]
        newcomers = TopHits.empty(len(entered), int(counts.max()))
        newcomers.values[at], newcomers.image_ids[at] = maxima[images, maps], image_ids[images]
        newcomers.places[at] = places[images, maps]
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
    maps = np.arange(len(order))[:, None]
    return TopHits(values[maps, order], ids[maps, order], places[maps, order])


def _order(values: NDArray[np.float32], ids: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return the order of hits along the last axis; empty places, whose id is -1, come last."""
    # lexsort takes the most important key last. One image has one hit of a map, so value and id decide every tie.
    last_id = np.where(ids < 0, np.iinfo(np.int64).max, ids)
    return np.lexsort((last_id, -values), axis=-1)
