"""How alike hits are: all pairs by matrix products, sets drawn from different maps, and how maps compare with these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from backlight.studies.numbers import nanmean

_ROWS = 512
_LEAST_SHARED = 0.25
_FLAT = 1e-4
_TIE = 1e-9
_FARTHEST = 100.0


def correlations(rows: Float[np.ndarray, "n d"], known: Bool[np.ndarray, "n d"]) -> Float[np.ndarray, "n n"]:
    """Return Pearson's correlation of each pair of rows over the entries that both have.

    Args:
        rows: Descriptors.
        known: Which of their entries count.

    Returns:
        float32; NaN where two rows share less than a quarter of the entries, or one does not vary over the shared ones.

    Example:
        >>> rows = np.array([[1.0, 2, 3, 9], [2.0, 4, 6, 0], [3.0, 2, 1, 0]])
        >>> correlations(rows, np.array([[True, True, True, False]] * 3)).round(3).tolist()
        [[1.0, 1.0, -1.0], [1.0, 1.0, -1.0], [-1.0, -1.0, 1.0]]
    """
    # Each row has its own gaps, so means and variances of a pair run over the entries that both know. With x set to 0
    # where it is unknown, every such sum is a product: x @ mask.T sums a row over what the other knows, and so on. Rows
    # have been standardised first, so that means are near 0 and the differences of squares below lose few digits.
    mask, x = known.astype(np.float32), _standardised(rows, known)  # (n, d)
    squares = x * x
    result = np.empty((len(x), len(x)), np.float32)
    for start in range(0, len(x), _ROWS):  # some rows at a time: the products are (rows, n) each
        part = slice(start, start + _ROWS)
        shared = mask[part] @ mask.T  # (rows, n) number of entries that both know
        n = np.maximum(shared, 1)
        own, other = x[part] @ mask.T / n, mask[part] @ x.T / n  # means of the one and the other row
        covariance = x[part] @ x.T / n - own * other
        own_variance = squares[part] @ mask.T / n - own**2
        other_variance = mask[part] @ squares.T / n - other**2
        usable = (shared >= _LEAST_SHARED * x.shape[1]) & (np.minimum(own_variance, other_variance) > _FLAT)
        values = covariance / np.sqrt(np.where(usable, own_variance * other_variance, 1))
        result[part] = np.where(usable, values.clip(-1, 1), np.nan)
    return result


def _standardised(rows: NDArray[np.floating], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return rows with mean 0 and variance 1 over what is known, and 0 elsewhere."""
    n = np.maximum(known.sum(1, keepdims=True), 1)
    # All sums are along a row, (n, 1), over its own known entries. A row whose deviation is next to nothing beside its
    # values has only rounding left, and becomes zeros.
    kept = np.where(known, rows, 0).astype(np.float64)
    centred = np.where(known, kept - kept.sum(1, keepdims=True) / n, 0)
    deviation = np.sqrt((centred**2).sum(1, keepdims=True) / n)
    flat = deviation <= _FLAT * abs(kept).max(1, keepdims=True, initial=0)
    return (np.where(flat, 0, centred) / np.where(flat, 1, deviation)).astype(np.float32)


def without_common(
    rows: Float[np.ndarray, "n d"], known: Bool[np.ndarray, "n d"]
) -> Float[np.ndarray, "n d"]:
    """Return rows minus their mean, taken for each entry over the rows that know it: what is not common to all.

    Example:
        >>> without_common(np.array([[1.0, 2.0], [3.0, 9.0]]), np.array([[True, True], [True, False]])).tolist()
        [[-1.0, 0.0], [1.0, 7.0]]
    """
    mean = np.where(known, rows, 0).sum(0, dtype=np.float64) / np.maximum(known.sum(0), 1)
    result: NDArray[np.floating] = (rows - mean).astype(rows.dtype)
    return result


def colour_similarities(colours: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n n"]:
    """Return 1 - distance / 100 for each pair of CIELAB colours: 1 for equal ones, 0 for black and white.

    Example:
        >>> colour_similarities(np.array([[0.0, 0.0, 0.0], [100.0, 0.0, 0.0]])).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    # (n, n), a channel at a time: all differences at once would be three times as large
    squares = np.zeros((len(colours), len(colours)), np.float32)
    for column in colours.T.astype(np.float32):
        squares += (column[:, None] - column) ** 2
    return 1 - np.sqrt(squares) / np.float32(_FARTHEST)


def label_similarities(labels: Sequence[str | None]) -> Float[np.ndarray, "n n"]:
    """Return 1 for each pair of equal labels, 0 for different ones, NaN where one is missing.

    Example:
        >>> label_similarities(["cat", "cat", "dog", None])[0].tolist()
        [1.0, 1.0, 0.0, nan]
    """
    names = {name: i for i, name in enumerate(dict.fromkeys(labels))}
    codes = np.array([names[name] for name in labels])
    known = np.array([name is not None for name in labels])
    equal = (codes[:, None] == codes).astype(np.float32)
    return np.where(known[:, None] & known, equal, np.float32(np.nan))


def purity(labels: Sequence[str | None]) -> float:
    """Return the share of the most frequent label among the known ones; NaN where none is known.

    Example:
        >>> purity(["cat", "dog", "cat", None])
        0.6666666666666666
    """
    known = [label for label in labels if label is not None]
    return max(known.count(label) for label in known) / len(known) if known else float("nan")


def draw_sets(
    map_index: Int[np.ndarray, " n"],
    image_ids: Int[np.ndarray, " n"],
    size: int,
    n_draws: int,
    generator: np.random.Generator,
) -> Int[np.ndarray, "draws size"]:
    """Return sets of hits, each from different maps and different images.

    Args:
        map_index: The feature map of each hit.
        image_ids: The image of each hit.
        size: Hits in a set, at most n.
        n_draws: Number of sets.
        generator: Makes the draws.

    *Convention*: each hit is drawn uniformly from the maps that the set has used least often and, among these, from the
    images that it has not used. Where there are fewer maps than `size`, maps repeat, all equally often; where there are
    too few images, images repeat. The first k hits of a set are themselves a set of k.

    Example:
        >>> maps, images = np.array([0, 0, 1, 1]), np.array([5, 6, 5, 6])
        >>> sets = draw_sets(maps, images, 2, 100, np.random.default_rng(0))
        >>> sorted({tuple(sorted(own)) for own in sets.tolist()})
        [(0, 3), (1, 2)]
    """
    images = np.unique(image_ids, return_inverse=True)[1]
    # A hit is chosen by the largest score: a random number in [0, 1), less 2 where the set has its image, less 4 for
    # each time that it has its map. So unused maps win over unused images, and those over chance.
    free = generator.random((n_draws, len(map_index)), np.float32)  # (draws, n)
    n_uses = np.zeros((n_draws, map_index.max() + 1), np.float32)
    is_used = np.zeros((n_draws, images.max() + 1), np.float32)
    draws, result = np.arange(n_draws), np.empty((n_draws, size), np.int64)
    for i in range(size):
        penalties = 2 * is_used[:, images] + 4 * n_uses[:, map_index]
        chosen = result[:, i] = (free - penalties).argmax(1)
        n_uses[draws, map_index[chosen]] += 1
        is_used[draws, images[chosen]] = 1
        free[draws, chosen] = -np.inf  # never the same hit twice
    return result


@dataclass(frozen=True, eq=False)
class Judged:
    """How the mean similarities of maps compare with those of sets from different maps.

    Attributes:
        scores: (maps,) mean similarity of the pairs of a map's hits; NaN where there are none, as in what follows.
        null_means: (maps,) mean score of the sets of as many hits.
        null_spreads: (maps,) their standard deviation.
        percentiles: (maps,) share of the sets that score lower, 0 to 1; a tie counts half.
        p_values: (maps,) (1 + sets that score as high) / (1 + sets).
        null: (draws,) scores of the sets as large as the largest map.
    """

    scores: NDArray[np.float64]
    null_means: NDArray[np.float64]
    null_spreads: NDArray[np.float64]
    percentiles: NDArray[np.float64]
    p_values: NDArray[np.float64]
    null: NDArray[np.float64]


def judge_maps(
    similarities: Float[np.ndarray, "n n"],
    map_index: Int[np.ndarray, " n"],
    image_ids: Int[np.ndarray, " n"],
    sets: Int[np.ndarray, "draws size"],
    n_maps: int,
) -> Judged:
    """Return how alike each map's hits are, compared with sets drawn from different maps.

    Args:
        similarities: The similarity of each pair of hits; NaN where unknown.
        map_index: The feature map of each hit, 0 to n_maps - 1.
        image_ids: The image of each hit.
        sets: From `draw_sets`, as large as the largest map.
        n_maps: Number of feature maps; those with fewer than two hits get NaN.

    *Convention*: pairs from the same image are left out, and in the sets also pairs from the same map. A map is
    compared with sets of as many hits as it has.

    Example:
        >>> maps, images = np.array([0, 0, 1, 1]), np.arange(4)
        >>> alike = np.array([[1.0, 0.9, 0, 0], [0.9, 1, 0, 0], [0, 0, 1, -0.5], [0, 0, -0.5, 1]])
        >>> found = judge_maps(alike, maps, images, draw_sets(maps, images, 2, 19, np.random.default_rng(0)), 2)
        >>> found.scores.tolist(), found.null_means.tolist(), found.p_values.tolist()
        ([0.9, -0.5], [0.0, 0.0], [0.05, 1.0])
    """
    image_of, map_of = image_ids[sets], map_index[sets]  # (draws, size)
    null = _by_size(similarities, sets, image_of, map_of)
    counts = np.bincount(map_index, minlength=n_maps)
    scores, means, spreads, percentiles, p_values = (np.full(n_maps, np.nan) for _ in range(5))
    for size in range(2, sets.shape[1] + 1):  # maps with equally many hits share their null
        chosen = np.flatnonzero(counts == size)
        if not len(chosen):
            continue
        own = np.stack([np.flatnonzero(map_index == channel) for channel in chosen])  # (chosen, size)
        # `_by_size` begins with sets of 2 and ends with those of all hits; a map's own pairs may be of one map
        scores[chosen] = _by_size(similarities, own, image_ids[own])[-1]
        beside = _beside(scores[chosen], null[size - 2])
        means[chosen], spreads[chosen], percentiles[chosen], p_values[chosen] = beside
    return Judged(scores, means, spreads, percentiles, p_values, null[-1])


def _by_size(
    similarities: NDArray[np.floating], sets: NDArray[np.int64], *apart: NDArray[np.int64]
) -> list[NDArray[np.float64]]:
    """Return for k = 2, 3, ... the mean (sets,) over the pairs among the first k of a set that differ in `apart`."""
    first, second = np.triu_indices(sets.shape[1], 1)  # the pairs first < second of positions in a set
    values = similarities[sets[:, first], sets[:, second]].astype(np.float64)  # (sets, pairs)
    for own in apart:
        values[own[:, first] == own[:, second]] = np.nan
    # a pair is among the first `size` hits where its second is
    return [nanmean(values[:, second < size], 1) for size in range(2, sets.shape[1] + 1)]


def _beside(scores: NDArray[np.float64], null: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Return for each score the mean and standard deviation of the null, and its percentile and p-value there."""
    kept = np.sort(null[~np.isnan(null)])
    n = len(kept)
    if not n:
        return tuple(np.full(len(scores), np.nan) for _ in range(4))
    # lower: how many are clearly below a score; not_higher: how many are below or tied; n - lower score as high.
    # Scores within a tie count half for the percentile, and against the map for the p-value.
    lower = np.searchsorted(kept, scores - _TIE)
    not_higher = np.searchsorted(kept, scores + _TIE, "right")
    found = (kept.mean(), kept.std(), (lower + not_higher) / (2 * n), (1 + n - lower) / (1 + n))
    return tuple(np.where(np.isnan(scores), np.nan, values) for values in found)
