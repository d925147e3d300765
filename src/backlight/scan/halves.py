"""The two halves of the images: top hits of each, and at how many ranks the two agree.

Which half an image belongs to depends on its id alone, so no engine, batch size or order of shards changes it, and the
top hits of both halves merge to those of all images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.scan.mixing import mixed
from backlight.scan.topk import TopHits

MOST_RANKS = 9
"""Ranks that are compared: the paper's nine hits, also where an atlas keeps more."""

TOLERANCE = 0.1
"""Two hits are equally strong if the weaker one reaches the stronger one less this share."""


def in_second_half(image_ids: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which of the images belong to the second half: by the first bit of the hash of their id (`mixed`).

    Example:
        >>> in_second_half(np.arange(8)).astype(int)
        array([0, 1, 0, 0, 1, 0, 0, 0])
    """
    return np.asarray(mixed(image_ids) >> np.uint64(63), np.bool_)


@dataclass(frozen=True)
class HalvedHits:
    """The top hits of c feature maps, k places each, in either half of the images.

    Attributes:
        stacked: Those of the first half, and below them those of the second: 2c rows. Only those of all images, c rows,
            where a scan was begun by an earlier version, which did not tell the halves apart.
        n_parts: 2, or 1 for all images together.
    """

    stacked: TopHits
    n_parts: int = 2

    @classmethod
    def empty(cls, n_maps: int, top: int) -> HalvedHits:
        """Return the hits of no image."""
        return cls(TopHits.empty(2 * n_maps, top))

    @property
    def parts(self) -> list[TopHits]:
        """The hits of each half, or of all images."""
        arrays = self.to_arrays()
        return [TopHits(**{name: own[i] for name, own in arrays.items()}) for i in range(self.n_parts)]

    @cached_property
    def together(self) -> TopHits:
        """The top hits of all images."""
        first, *others = self.parts
        return first.merge(others[0]) if others else first

    def add(
        self, maxima: NDArray[np.float32], image_ids: NDArray[np.int64], places: NDArray[np.int32]
    ) -> HalvedHits:
        """Return the hits with a batch of images added; as for `TopHits.add`."""
        if self.n_parts == 1:
            return HalvedHits(self.stacked.add(maxima, image_ids, places), 1)
        is_second = in_second_half(image_ids)
        # (2c, n) the images that reach the weakest hit of a map, of its half only
        reaching = np.concatenate([maxima.T, maxima.T]) >= self.stacked.values[:, -1:]
        reaching[: maxima.shape[1]] &= ~is_second
        reaching[maxima.shape[1] :] &= is_second
        return HalvedHits(self.stacked.add_reaching(reaching, maxima, image_ids, places))

    def merge(self, other: HalvedHits) -> HalvedHits:
        """Return the hits of both sets of images, which have no image in common."""
        if self.n_parts == other.n_parts:
            return HalvedHits(self.stacked.merge(other.stacked), self.n_parts)
        return HalvedHits(self.together.merge(other.together), 1)

    def after(self) -> HalvedHits:
        """Return hits of no image to which only those are added that can stay in a merge with these."""
        return HalvedHits(self.stacked.after(), self.n_parts)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the hits as plain arrays, part by part: (2, c, k), or (1, c, k) for all images together."""
        arrays = vars(self.stacked).items()
        return {name: array.reshape(self.n_parts, -1, *array.shape[1:]) for name, array in arrays}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> HalvedHits:
        """Return the hits that `to_arrays` gave the arrays of; or an earlier version, of all images: (c, k)."""
        is_earlier = arrays["values"].ndim == 2
        own = {
            name: arrays[name] if is_earlier else np.concatenate(list(arrays[name]))
            for name in TopHits.__annotations__
        }
        return cls(TopHits(**own), 1 if is_earlier else len(arrays["values"]))

    def stability(self, top: int | None = None) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """Return at how many ranks two such sets of images have hits of equal strength, and of how many ranks.

        Two values (c,): the number of ranks that agree, and the number of ranks, at most nine, at which either half
        has a hit. None where the halves were not told apart.

        The number estimates the mean over pairs of independent image sets of half the size, drawn like this one: at
        how many ranks their hits are equally strong. The halves as they are would be one such pair, but neighbouring
        ranks rise and fall together, so one pair is off by two or three ranks. Which half a strong value lies in is
        chance; so the strongest values of both halves are dealt out again, each to either half by a coin, and the
        number is the mean over all such deals, exact and without drawing any. It is off by about one rank. Where a
        deal gives one half so few of them that a rank stays empty there, the halves as they are decide for that rank.

        *Convention*: the weaker hit must reach 90 % of the stronger one, the end included. The mean is rounded to the
        nearest whole number, halves up. A rank at which only one half has a hit does not agree.

        *Limits*: strengths are compared, not what is in the images. Which rank a hit has in its half says nothing: it
        is chance for any map. A map with one extreme image loses one rank; with two, less, as each half may get one.
        Copies of one image count as independent ones. Half the images reach lower than all of them, so the number
        is rather too low for the whole set. From below about a hundred images it means little.

        Args:
            top: Hits of a feature map that are shown; None for all that are kept.
        """
        if self.n_parts == 1:
            return None
        halves = [np.where(part.image_ids >= 0, part.values, 0).clip(min=0) for part in self.parts]
        n_ranks = min(MOST_RANKS, halves[0].shape[1] if top is None else top)
        # (c, n) each: the weaker and the stronger hit at every rank, in the halves as they are.
        one, other = (values[:, :n_ranks] for values in halves)
        agree = _agree(np.minimum(one, other), np.maximum(one, other))
        # (c, 2n) strongest values of both halves; of those a deal needs no more than n a half.
        dealt = -np.sort(-np.concatenate([one, other], 1), 1)
        weights, is_filled = _deals(n_ranks)
        found = agree @ (1 - is_filled)
        for i in range(2 * n_ranks):
            # Values descend, so those equal to value i in strength are the next ones: a sum of weights gives all pairs.
            n_equal = _agree(dealt, dealt[:, i : i + 1]).sum(1)
            found += weights[i, n_equal]
        # Weights are whole numbers over a power of two, which float64 adds exactly in any order.
        n_agree = np.floor(found + 0.5).astype(np.int64)
        return n_agree, (np.maximum(one, other) > 0).sum(1)


def _agree(weaker: NDArray[np.float32], stronger: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return where two values are equally strong, or the first is the stronger one; zero is no hit."""
    return np.asarray((weaker > 0) & (weaker >= np.float32(1 - TOLERANCE) * stronger))


@lru_cache
def _deals(n_ranks: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return with what probability a deal makes two values the hits of one rank, and fills a rank in both halves.

    Args:
        n_ranks: Number of ranks; 2n values, strongest first, are dealt to two halves, each by a coin.

    Returns:
        (2n, 2n + 1): at [i, m], that value i and any weaker one of the m strongest are hits of one rank.
        (n,): that both halves have more than r values.
    """
    n = 2 * n_ranks
    weights = np.zeros((n, n + 1))
    for i in range(n):
        for j in range(i + 1, n):
            # Rank r: before value i there are r of its own half, and i - r of the other; before value j there are r of
            # its half, so 2r - i between the two. Which labels the halves have makes no difference: a factor of 2.
            counts = (
                comb(i, r) * comb(j - i - 1, 2 * r - i)
                for r in range(n_ranks)
                if 0 <= i - r <= r and 2 * r - i <= j - i - 1
            )
            weights[i, j + 1] = sum(counts) / 2**j
    filled = [sum(comb(n, x) for x in range(r + 1, n - r)) / 2**n for r in range(n_ranks)]
    return weights.cumsum(1), np.array(filled)
