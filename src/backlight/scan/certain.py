"""Certain hits: which of a map's strongest hits rounding could put into another order, and what decides between them.

The last bits of an activation depend on batch size, threads, instruction set and device. A scan therefore keeps a few
candidates more than it shows, and each counts as known up to a bound of rounding only. Neighbours that differ by more
than both can be off are certainly in order. What is closer is contested: evaluated once more, in float64.

*Convention*: activations that differ by no more than float64 itself may be off (`EQUAL`) are equal, and of two such the
lower image id comes first; within an image the first place in reading order that reaches the maximum.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SPARE = 3
"""Candidates that a scan keeps of each map beside the hits that are shown."""

BOUND = 1e-4
"""How far rounding moves a float32 activation at most, as a share of a map's scale.

Measured, not proven: more than four times what was found on any network, instruction set or setting
(benchmarks/rounding.py, docs/reliability.md).
"""

EQUAL = 1e-5
"""Activations are equal whose difference is at most this share of the bound: 1e-9 of the scale."""

_FLOAT32_EPS = float(np.finfo(np.float32).eps)


def bounds_of(maxima: NDArray[np.float32], eps: float = _FLOAT32_EPS) -> NDArray[np.float64]:
    """Return how far rounding may have moved the activations of each of a layer's maps.

    Args:
        maxima: (c,) strongest activation of every map of the layer.
        eps: Spacing of the network's numbers at 1. Coarser types than float32 have wider bounds, in proportion.

    *Convention*: a map's scale is its strongest activation, or the median of the strongest activations of the layer's
    active maps where that is larger. A map that is hardly ever active is a small difference of large numbers: its error
    is as large as that of its neighbours, not smaller.

    Example:
        >>> bounds_of(np.array([8.0, 4.0, 0.001, 0.0], np.float32)) / BOUND
        array([8., 4., 4., 4.])
    """
    active = maxima[maxima > 0].astype(np.float64)
    typical = float(np.median(active)) if len(active) else 0.0
    return BOUND * max(1.0, eps / _FLOAT32_EPS) * np.maximum(maxima.astype(np.float64), typical)


def apart(bound: float) -> float:
    """Return the difference above which two activations are certainly in order, as both may be off."""
    return (2 + EQUAL) * bound


@dataclass(frozen=True)
class Answer:
    """What float64 gave for a feature map in an image.

    Attributes:
        layer_index: Place of the layer in the plan.
        channel: The feature map.
        image_id: The image.
        value: Its strongest activation.
        row: Where that is; -1 for a fully connected unit.
        col: Where that is.
    """

    layer_index: int
    channel: int
    image_id: int
    value: float
    row: int = -1
    col: int = -1


@dataclass(frozen=True)
class Question:
    """What is still to be known of a feature map in an image.

    Attributes:
        layer_index: Place of the layer in the plan.
        channel: The feature map.
        image_id: The image.
        value: Its strongest activation, as the scan found it.
        bound: How far that may be off.
        is_contested: Whether float64 must decide; otherwise it must only where another position of the map comes close
            to the strongest one.
    """

    layer_index: int
    channel: int
    image_id: int
    value: float
    bound: float
    is_contested: bool


@dataclass(frozen=True)
class QuestionGroup:
    """Questions about some images, which are answered together.

    Attributes:
        image_ids: The images, ascending.
        questions: What is asked of them, image by image.
    """

    image_ids: tuple[int, ...]
    questions: tuple[Question, ...]


@dataclass(frozen=True)
class Candidates:
    """The strongest hits of a feature map, as a scan found them.

    Attributes:
        values: (n,) strongest activations, above zero, in descending order.
        image_ids: (n,) their images.
        places: (n, 2) row and column; -1 for a fully connected unit.
        bound: How far a value may be off.
        is_cut: Whether there may be further images, as strong as the last of these at most.
    """

    values: NDArray[np.float64]
    image_ids: NDArray[np.int64]
    places: NDArray[np.int32]
    bound: float
    is_cut: bool

    @classmethod
    def among(
        cls,
        values: NDArray[np.float32],
        image_ids: NDArray[np.int64],
        places: NDArray[np.int32],
        bound: float,
    ) -> Candidates:
        """Return the candidates among the (k,) places that a scan has for a map; an empty place has image id -1."""
        is_hit = (image_ids >= 0) & (values > 0)
        kept = values[is_hit].astype(np.float64), image_ids[is_hit], places[is_hit]
        return cls(*kept, float(bound), bool(is_hit.all()))

    @property
    def floor(self) -> float:
        """The strongest value that a scan can have given an image that is not among these."""
        return float(self.values[-1]) if self.is_cut else 0.0

    def contested(self, top: int) -> NDArray[np.bool_]:
        """Return (n,) which candidates float64 must decide on, so that the first `top` ranks are known.

        Candidates that are not certainly in order with their neighbours form a run. A run counts if it begins among
        the first ranks; the images that are not candidates, which may follow the last one, count as one more of it.
        """
        values = np.append(self.values, self.floor)
        is_linked = values[:-1] - values[1:] <= apart(self.bound)
        # Number of the run that each candidate is in: a new one begins where a gap is wide enough.
        runs = np.append(0, np.cumsum(~is_linked))[: len(self.values)]
        counted = np.unique(runs[:top])
        # A run of one candidate, which nothing is close to, is known as it is.
        follows = np.append(False, is_linked[:-1])[: len(runs)]
        return np.asarray(np.isin(runs, counted) & (is_linked | follows))


@dataclass(frozen=True)
class Settled:
    """The hits of a feature map, decided.

    Attributes:
        values: (m,) float32 activations: of what was evaluated in float64 those, of the others as scanned.
        image_ids: (m,) images.
        places: (m, 2) row and column.
        n_certain: How many of them are certain, from the strongest on: another machine finds the same ones.
    """

    values: NDArray[np.float32]
    image_ids: NDArray[np.int64]
    places: NDArray[np.int32]
    n_certain: int


def settle(candidates: Candidates, answers: Mapping[int, Answer], top: int) -> Settled:
    """Return the first `top` hits of a map.

    Args:
        candidates: What the scan found.
        answers: What float64 gave, by image; at least for all contested candidates.
        top: Hits to keep.

    *Convention*: a hit is certain if it is and every stronger one is: evaluated, or far enough from its neighbours; and
    too strong for any image that is not among the candidates. Where float64 differs from the scan by more than the
    bound, the bound does not hold for this map, and none of its hits is certain.
    """
    bound, equal = candidates.bound, EQUAL * candidates.bound
    is_evaluated = np.array([i in answers for i in candidates.image_ids.tolist()], np.bool_)
    values, places = candidates.values.copy(), candidates.places.copy()
    for at in np.flatnonzero(is_evaluated):
        own = answers[int(candidates.image_ids[at])]
        values[at], places[at] = own.value, (own.row, own.col)
    holds = bool((abs(values - candidates.values) <= bound).all())
    # What the activation is at least, and whether nothing in the run of a candidate has been left open.
    least = np.where(is_evaluated, values, values - bound)
    is_known = is_evaluated | ~candidates.contested(top)
    order = _order(values, candidates.image_ids, equal)
    order = order[values[order] > 0][:top]
    is_certain = is_known & (least > candidates.floor + bound + equal)
    n_certain = int(np.cumprod(is_certain[order]).sum()) if holds else 0
    # Where the id has put the smaller of two equal ones first, it takes the value of the other: values never rise.
    shown = np.maximum.accumulate(values[order][::-1])[::-1].astype(np.float32)
    return Settled(shown, candidates.image_ids[order], places[order], n_certain)


def _order(values: NDArray[np.float64], ids: NDArray[np.int64], equal: float) -> NDArray[np.intp]:
    """Return the order of hits: by value, strongest first, and of equal ones by image id."""
    falling = np.lexsort((ids, -values))
    # Neighbours that are equal have one number, which ids are sorted within.
    numbers = np.append(0, np.cumsum(-np.diff(values[falling]) > equal))[: len(values)]
    return np.asarray(falling[np.lexsort((ids[falling], numbers))])


def strongest(map_values: NDArray[np.float64], bound: float) -> tuple[float, int, int]:
    """Return the strongest activation of a map (h, w) in float64, and the first place in reading order that has it."""
    most = float(map_values.max())
    at = int(np.argmax(map_values.ravel() >= most - EQUAL * bound))
    row, col = divmod(at, map_values.shape[1])
    return most, row, col


def questions_of(
    layer_index: int, channel: int, candidates: Candidates, top: int, has_places: bool
) -> Iterator[Question]:
    """Yield what is to be asked about a map, so that its first `top` hits can be settled."""
    contested = candidates.contested(top)
    for rank in range(len(contested)):
        if contested[rank] or (rank < top and has_places):
            value, image_id = float(candidates.values[rank]), int(candidates.image_ids[rank])
            yield Question(layer_index, channel, image_id, value, candidates.bound, bool(contested[rank]))


def question_groups(questions: Sequence[Question], n_images: int) -> list[QuestionGroup]:
    """Return questions in groups of so many images; the same questions always give the same groups."""
    by_image: dict[int, list[Question]] = {}
    for question in questions:
        by_image.setdefault(question.image_id, []).append(question)
    ids = sorted(by_image)
    parts = [tuple(ids[i : i + n_images]) for i in range(0, len(ids), n_images)]
    return [QuestionGroup(part, tuple(q for i in part for q in by_image[i])) for part in parts]
