"""What a homogeneity study takes and finds: its configuration and its result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from backlight.errors import UnknownLayerError
from backlight.studies.checks import check_at_least
from backlight.studies.homogeneity.likeness import (
    ASPECTS,
    P_LIMIT,
    Aspect,
    LayerScore,
    MapScores,
    Score,
)
from backlight.studies.intervals import false_discoveries, mean_interval
from backlight.studies.numbers import nanmean, plain
from backlight.studies.results import Result


@dataclass(frozen=True)
class HomogeneityConfig:
    """How chance is estimated.

    Attributes:
        n_draws: How many sets of hits are drawn from different maps of a layer; the smallest possible p-value is
            1 / (1 + n_draws).
        seed: Random seed for the draws.
    """

    n_draws: int = 999
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the values."""
        check_at_least(1, n_draws=self.n_draws)
        check_at_least(0, seed=self.seed)


@dataclass(frozen=True, eq=False, repr=False)
class Homogeneity(Result):
    """How alike the hits of every map are.

    Attributes:
        config: How chance was estimated.
        network: The network's name.
        images: The image set's name.
        rules: The rule set of the projections.
        layers: The layers.
        layer_index: (maps,) the layer of each map, as a position in layers.
        channels: (maps,) its channel.
        n_hits: (maps,) number of its hits.
        purities: (maps,) share of the most frequent label among its hits; NaN where none has a label.
        map_scores: (aspects, maps) mean similarity over pairs of hits; NaN where a map has fewer than two.
        null_means: (aspects, maps) mean score of sets drawn from different maps.
        null_spreads: (aspects, maps) standard deviation of these scores.
        percentiles: (aspects, maps) share of the sets that score lower.
        p_values: (aspects, maps) one-sided p-values.
        nulls: (aspects, layers, draws) scores of the sets as large as the layer's largest map.
        examples: (examples, 2, hits, side, side, 3) uint8, the projections and patches of the last layer's most and
            least alike maps, by projections.
        example_channels: (examples,) their channels, the most alike first.
    """

    study: ClassVar[str] = "homogeneity"

    config: HomogeneityConfig
    network: str
    images: str
    rules: str
    layers: tuple[str, ...]
    layer_index: NDArray[np.int64]
    channels: NDArray[np.int64]
    n_hits: NDArray[np.int64]
    purities: NDArray[np.float64]
    map_scores: NDArray[np.float64]
    null_means: NDArray[np.float64]
    null_spreads: NDArray[np.float64]
    percentiles: NDArray[np.float64]
    p_values: NDArray[np.float64]
    nulls: NDArray[np.float64]
    examples: NDArray[np.uint8]
    example_channels: NDArray[np.int64]

    @property
    def aspects(self) -> tuple[Aspect, ...]:
        """The aspects by which anything can be said: `labels` only where there are labels."""
        return tuple(m for m, own in zip(ASPECTS, self.map_scores, strict=True) if not np.isnan(own).all())

    def scores(self, layer: str) -> tuple[MapScores, ...]:
        """Return the scores of every map of a layer, by channel.

        Raises:
            UnknownLayerError: The layer was not studied.
        """
        z = self._z()
        return tuple(
            MapScores(
                int(self.channels[i]),
                int(self.n_hits[i]),
                float(self.purities[i]),
                {
                    aspect: Score(
                        *(float(own[m, i]) for own in (self.map_scores, self.null_means, z)),
                        *(float(own[m, i]) for own in (self.percentiles, self.p_values)),
                    )
                    for m, aspect in enumerate(ASPECTS)
                },
            )
            for i in np.flatnonzero(self._of(layer))
        )

    def ranked(self, layer: str, aspect: Aspect = "projections") -> tuple[int, ...]:
        """Return the channels of a layer's maps that have a score, the most alike first.

        *Convention*: ranked by z, since maps with fewer hits are compared with other sets; those equal to four digits
        are ranked by channel.
        """
        mine = np.flatnonzero(self._of(layer) & ~np.isnan(self.map_scores[ASPECTS.index(aspect)]))
        z = np.nan_to_num(self._z()[ASPECTS.index(aspect), mine]).round(4)
        return tuple(int(c) for c in self.channels[mine[np.argsort(-z, kind="stable")]])

    def layer_score(self, layer: str, aspect: Aspect) -> LayerScore:
        """Return how alike the hits of a layer's maps are by one aspect."""
        at = ASPECTS.index(aspect), self._of(layer)
        scores, p_values = self.map_scores[at], self.p_values[at]
        excess = mean_interval(scores - self.null_means[at])
        # A percentile is the share of sets that the map beats; its mean over maps is the chance that a map beats a set.
        return LayerScore(
            plain(float(nanmean(scores))),
            excess,
            plain(float(nanmean(self.percentiles[at]))),
            int(np.sum(false_discoveries(p_values) <= P_LIMIT)),
            int(np.sum(~np.isnan(scores))),
        )

    def null(self, layer: str, aspect: Aspect) -> NDArray[np.float64]:
        """Return the scores of the sets drawn from different maps of a layer."""
        values: NDArray[np.float64] = self.nulls[ASPECTS.index(aspect), self._at(layer)]
        return values[~np.isnan(values)]

    def mean_purity(self, layer: str) -> float | None:
        """Return the mean label purity of a layer's maps; None where there are no labels."""
        return plain(float(nanmean(self.purities[self._of(layer)])))

    def summary(self) -> dict[str, Any]:
        """Return by layer and aspect the mean score, its excess over chance with its interval, and the AUC."""
        return {layer: self._summary(layer) for layer in self.layers}

    def _of(self, layer: str) -> NDArray[np.bool_]:
        """Return (maps,) which maps are of a layer."""
        mine: NDArray[np.bool_] = self.layer_index == self._at(layer)
        return mine

    def _at(self, layer: str) -> int:
        if layer not in self.layers:
            raise UnknownLayerError(
                f"layer {layer!r} was not studied; the layers are {', '.join(self.layers)}"
            )
        return self.layers.index(layer)

    def _z(self) -> NDArray[np.float64]:
        """Return (aspects, maps) by how many standard deviations of chance the maps lie above it."""
        # sets that all score the same say nothing about how far above them a map lies
        spread = np.where(self.null_spreads > 0, self.null_spreads, np.nan)
        z: NDArray[np.float64] = (self.map_scores - self.null_means) / spread
        return z

    def _summary(self, layer: str) -> dict[str, Any]:
        found: dict[str, Any] = {"n_maps": int(self._of(layer).sum()), "purity": self.mean_purity(layer)}
        for aspect in self.aspects:
            own = self.layer_score(layer, aspect)
            excess = {"mean": own.excess.mean, "low": own.excess.low, "high": own.excess.high}
            found[aspect] = {
                "score": own.score,
                "excess": excess,
                "auc": own.auc,
                "n_above": own.n_above,
                "n": own.n,
            }
        return found
