"""Likeness: the hits of a layer compared by projections, patches, colours and labels, and the scores of that."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from backlight.atlas import Atlas, AtlasLayer, Hit
from backlight.errors import BadInputError
from backlight.studies.homogeneity.aligned import aligned_tiles
from backlight.studies.homogeneity.alike import (
    Judged,
    colour_similarities,
    correlations,
    draw_sets,
    judge_maps,
    label_similarities,
    without_common,
)
from backlight.studies.homogeneity.descriptors import Descriptors, describe
from backlight.studies.intervals import Interval

Aspect = Literal["projections", "patches", "colours", "labels"]
"""What of two hits is compared; `backlight.studies.homogeneity.run` says how."""

ASPECTS: tuple[Aspect, ...] = get_args(Aspect)
P_LIMIT = 0.05
"""The largest p-value at which the hits of a map count as more alike than chance."""


@dataclass(frozen=True)
class Score:
    """How alike the hits of a map are by one aspect; NaN where nothing can be said.

    Attributes:
        score: Mean similarity over the pairs of hits.
        null_mean: Mean score of sets of as many hits drawn from different maps.
        z: How many of their standard deviations the score lies above that mean.
        percentile: Share of the sets that score lower, 0 to 1; a tie counts half.
        p_value: (1 + sets that score as high) / (1 + sets); one-sided, not corrected for the number of maps.
    """

    score: float
    null_mean: float
    z: float
    percentile: float
    p_value: float


@dataclass(frozen=True)
class MapScores:
    """How alike the hits of a map are.

    Attributes:
        channel: The feature map.
        n_hits: Number of its hits.
        purity: Share of the most frequent label among its hits that have one; NaN where none has.
        by_aspect: Its score by each aspect.
    """

    channel: int
    n_hits: int
    purity: float
    by_aspect: dict[Aspect, Score]


@dataclass(frozen=True)
class LayerScore:
    """How alike the hits of a layer's maps are by one aspect.

    Attributes:
        score: Mean over maps; None where nothing can be said.
        excess: Mean of score minus null mean, with its 95 % interval over maps.
        auc: How likely a map scores higher than a set from different maps: 0.5 by chance, 1 where each does.
        n_above: Number of maps whose p-value, corrected for their number by Benjamini and Hochberg, is at most 0.05: at
            most one in 20 of them is expected to be chance.
        n: Number of maps with a score.
    """

    score: float | None
    excess: Interval
    auc: float | None
    n_above: int
    n: int


@dataclass(frozen=True, eq=False)
class LayerHits:
    """The hits of a layer's projected maps.

    Attributes:
        layer: The layer.
        channels: (maps,) the maps.
        hits: (n,) their hits, map after map.
        map_index: (n,) the map of each hit, as a position in channels.
        image_ids: (n,) their images.
        labels: (n,) the labels of these images; None where there is none.
    """

    layer: AtlasLayer
    channels: NDArray[np.int64]
    hits: tuple[Hit, ...]
    map_index: NDArray[np.int64]
    image_ids: NDArray[np.int64]
    labels: tuple[str | None, ...]

    @property
    def counts(self) -> NDArray[np.int64]:
        """Number of hits of each map."""
        return np.bincount(self.map_index, minlength=len(self.channels))

    def labels_of(self, index: int) -> list[str | None]:
        """Return the labels of a map's hits."""
        return [self.labels[i] for i in np.flatnonzero(self.map_index == index)]


def hits_of(atlas: Atlas, name: str) -> LayerHits:
    """Return the hits of a layer's projected maps.

    Raises:
        UnknownLayerError: The atlas has no such layer.
        BadInputError: Fewer than two maps have hits, or none has two: there is nothing to compare.
    """
    layer = atlas[name]
    maps = [layer[channel].hits for channel in layer.channels]
    n_live = sum(len(own) > 0 for own in maps)
    if n_live < 2:
        raise BadInputError(
            f"chance is found by drawing hits from different maps, but {atlas.path.name} has hits of {n_live} "
            f"of layer {name!r}; build it with more maps, or leave the layer out"
        )
    if max(map(len, maps)) < 2:
        raise BadInputError(
            f"the hits of a map are compared with each other, but {atlas.path.name} has no map of layer {name!r} "
            f"with two (it was built with top {atlas.selection.top}); build it with a larger top, or over more images"
        )
    hits = tuple(hit for own in maps for hit in own)
    ids = [hit.image_id for hit in hits]
    labels = {image_id: atlas.images[image_id].label for image_id in set(ids)}
    return LayerHits(
        layer,
        np.array(layer.channels, np.int64),
        hits,
        np.repeat(np.arange(len(maps)), [len(own) for own in maps]),  # (n,) 0 0 0 1 1 1 2 ...
        np.array(ids, np.int64),
        tuple(labels[image_id] for image_id in ids),
    )


def judge_layer(
    hits: LayerHits,
    image_size: tuple[int, int],
    n_draws: int,
    seed: int,
    report: Callable[[int], object] = lambda _: None,
) -> list[Judged]:
    """Return for each aspect how alike the hits of each map are, compared with sets drawn from different maps.

    Args:
        hits: The hits of a layer.
        image_size: Height and width of the preprocessed image.
        n_draws: Number of sets.
        seed: Random seed for the draws, which depend on the layer's name too, but not on the other layers studied.
        report: Called with the number of hits that each step has read.
    """
    parts: list[Descriptors] = []
    for tiles in aligned_tiles(hits.layer, hits.hits, image_size):
        parts.append(describe(tiles))
        report(len(tiles.valid))
    # a checksum of the name: Python's own hash of a text differs from run to run
    generator = np.random.default_rng([seed, zlib.crc32(hits.layer.name.encode())])
    sets = draw_sets(hits.map_index, hits.image_ids, int(hits.counts.max()), n_draws, generator)
    return [
        judge_maps(similarities, hits.map_index, hits.image_ids, sets, len(hits.channels))
        for similarities in _similarities(Descriptors.joined(parts), hits.labels)
    ]


def _similarities(found: Descriptors, labels: tuple[str | None, ...]) -> Iterator[NDArray[np.floating]]:
    """Yield the similarities of all pairs of hits, aspect by aspect."""
    # (n, n) each, and n may be thousands: one is judged before the next is made
    for rows, known in (
        (found.projections, found.projections_known),
        (found.patches, found.patches_known),
    ):
        yield correlations(without_common(rows, known), known)
    yield colour_similarities(found.colours)
    yield label_similarities(labels)
