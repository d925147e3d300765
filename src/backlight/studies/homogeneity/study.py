"""Homogeneity: how alike are the hits of one feature map, against hits drawn from different maps of its layer?

*Source*: Zeiler & Fergus (2013), section 4.1, say of Fig. 2 that the projections of a map are strongly grouped, and
show invariance in what differs between them. *Differs*: the paper leaves it to the eye; here it is a number for each
map and layer, beside what chance gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from backlight.atlas import Atlas
from backlight.errors import BadInputError, UnknownLayerError
from backlight.network.layers import Layers, layer_names
from backlight.scan import Progress
from backlight.studies.belonging import check_finished
from backlight.studies.homogeneity.alike import Judged, purity
from backlight.studies.homogeneity.likeness import (
    LEVEL,
    MEASURES,
    LayerHits,
    LayerScore,
    MapScores,
    Measure,
    Score,
    hits_of,
    judge_layer,
)
from backlight.studies.homogeneity.sheets import draw_hits
from backlight.studies.intervals import bootstrap
from backlight.studies.numbers import nanmean, plain
from backlight.studies.results import Result

if TYPE_CHECKING:
    from backlight.render.plots import Plot

_N_EXAMPLES = 3


@dataclass(frozen=True)
class Config:
    """How chance is found.

    Attributes:
        n_draws: Sets of hits drawn from different maps of a layer; the smallest possible p-value is 1 / (1 + n_draws).
        seed: Of the draws.
    """

    n_draws: int = 999
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be done."""
        if self.n_draws < 1 or self.seed < 0:
            raise BadInputError(
                f"n_draws must be at least 1 and the seed at least 0, but came {self.n_draws} and {self.seed}"
            )


@dataclass(frozen=True, eq=False)
class Homogeneity(Result):
    """How alike the hits of every map are.

    Attributes:
        config: How chance was found.
        network: The network's name.
        images: The image set's name.
        rules: The rule set of the projections.
        layers: The layers.
        layer_index: (maps,) of each map its layer.
        channels: (maps,) its channel.
        n_hits: (maps,) its hits.
        purities: (maps,) share of its most frequent label; NaN where no hit has a label.
        map_scores: (measures, maps) mean similarity over pairs of hits; NaN where a map has fewer than two.
        null_means: (measures, maps) that of sets drawn from different maps.
        null_spreads: (measures, maps) the standard deviation over these sets.
        percentiles: (measures, maps) share of the sets that score lower.
        p_values: (measures, maps) one-sided.
        nulls: (measures, layers, draws) the scores of the sets, as large as the layer's largest map.
        examples: (examples, 2, hits, side, side, 3) uint8, the projections and patches of the last layer's most and
            least alike maps, by projections.
        example_channels: (examples,) their channels, the most alike first.
    """

    config: Config
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
    def measures(self) -> tuple[Measure, ...]:
        """The measures by which anything can be said: without labels, not `labels`."""
        return tuple(m for m, own in zip(MEASURES, self.map_scores, strict=True) if not np.isnan(own).all())

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
                    measure: Score(
                        *(float(own[m, i]) for own in (self.map_scores, self.null_means, z)),
                        *(float(own[m, i]) for own in (self.percentiles, self.p_values)),
                    )
                    for m, measure in enumerate(MEASURES)
                },
            )
            for i in np.flatnonzero(self._of(layer))
        )

    def ranked(self, layer: str, measure: Measure = "projections") -> tuple[int, ...]:
        """Return the channels of a layer's maps that have a score, those whose hits are most alike first.

        *Convention*: by z, since maps with fewer hits are compared with other sets; those that are equal to four
        digits by channel.
        """
        mine = np.flatnonzero(self._of(layer) & ~np.isnan(self.map_scores[MEASURES.index(measure)]))
        z = np.nan_to_num(self._z()[MEASURES.index(measure), mine]).round(4)
        return tuple(int(c) for c in self.channels[mine[np.argsort(-z, kind="stable")]])

    def layer_score(self, layer: str, measure: Measure) -> LayerScore:
        """Return how alike the hits of a layer's maps are by one measure."""
        at = MEASURES.index(measure), self._of(layer)
        scores, p_values = self.map_scores[at], self.p_values[at]
        excess = bootstrap(scores - self.null_means[at], self.config.seed)
        return LayerScore(
            plain(float(nanmean(scores))),
            excess,
            plain(float(nanmean(self.percentiles[at]))),
            int(np.sum(p_values <= LEVEL)),
            int(np.sum(~np.isnan(scores))),
        )

    def null(self, layer: str, measure: Measure) -> NDArray[np.float64]:
        """Return the scores of the sets drawn from different maps of a layer."""
        values: NDArray[np.float64] = self.nulls[MEASURES.index(measure), self._at(layer)]
        return values[~np.isnan(values)]

    def mean_purity(self, layer: str) -> float | None:
        """Return the mean label purity of a layer's maps; None without labels."""
        return plain(float(nanmean(self.purities[self._of(layer)])))

    def summary(self) -> dict[str, Any]:
        """Return by layer and measure the mean score, its excess over chance with its interval, and the AUC."""
        return {layer: self._summary(layer) for layer in self.layers}

    def plot(self) -> Plot:
        """Return the maps of every layer beside chance, by measure, and the last layer's most and least alike maps."""
        from backlight.studies.homogeneity.plot import plot_homogeneity

        return plot_homogeneity(self)

    def _of(self, layer: str) -> NDArray[np.bool_]:
        mine: NDArray[np.bool_] = self.layer_index == self._at(layer)
        return mine

    def _at(self, layer: str) -> int:
        if layer not in self.layers:
            raise UnknownLayerError(f"layer {layer!r} was not studied; there are {', '.join(self.layers)}")
        return self.layers.index(layer)

    def _z(self) -> NDArray[np.float64]:
        spread = np.where(self.null_spreads > 0, self.null_spreads, np.nan)
        z: NDArray[np.float64] = (self.map_scores - self.null_means) / spread
        return z

    def _summary(self, layer: str) -> dict[str, Any]:
        found: dict[str, Any] = {"n_maps": int(self._of(layer).sum()), "purity": self.mean_purity(layer)}
        for measure in self.measures:
            own = self.layer_score(layer, measure)
            excess = {"mean": own.excess.mean, "low": own.excess.low, "high": own.excess.high}
            found[measure] = {
                "score": own.score,
                "excess": excess,
                "auc": own.auc,
                "n_above": own.n_above,
                "n": own.n,
            }
        return found


def run(
    atlas: Atlas,
    layers: Layers | None = None,
    config: Config | None = None,
    progress: Progress | None = None,
) -> Homogeneity:
    """Return how alike the hits of each feature map of an atlas are, against hits drawn from different maps.

    The score of a map is the mean similarity over the pairs of its hits. By `projections` and `patches` it is a
    correlation of the edges (HOG) in tiles aligned on the unit, where both lie inside of their images. What is common
    to all hits of the layer is taken away first, so that chance is near 0, and 1 is equal. By `colours` it is
    1 - distance / 100 of the mean CIELAB colours around the unit, by `labels` the share of pairs with the same label.

    A high score says that the hits have something in common, not that it means something. By projections a network of
    random weights scores high too: in its first layer they are the filter itself, and above they still show the filters
    more than the image. Compare with an atlas of the same network without its weights.

    Args:
        atlas: A finished atlas.
        layers: Layers of the atlas; None takes all.
        config: How chance is found.
        progress: Called with `homogeneity`, the number of hits done and the number in all.

    Raises:
        BadInputError: The atlas is not finished, a layer has hits of one map only, or one hit of each.
        UnknownLayerError: The atlas has no such layer.

    *Convention*: sets are drawn as `alike.draw_sets` says, tiles aligned as `aligned.aligned_tiles`, and compared as
    `descriptors.describe`.
    """
    config = config or Config()
    check_finished(atlas)
    chosen = [hits_of(atlas, name) for name in layer_names(layers or list(atlas))]
    n_before = [0, *accumulate(len(own.hits) for own in chosen)]
    judged = []
    for own, done in zip(chosen, n_before, strict=False):
        say = partial(_report, progress, done, n_before[-1])
        judged.append(judge_layer(own, atlas.preprocessing.crop, config.n_draws, config.seed, say))
    return _with_examples(_result(atlas, config, chosen, judged), chosen[-1])


def _result(
    atlas: Atlas, config: Config, chosen: Sequence[LayerHits], judged: Sequence[Sequence[Judged]]
) -> Homogeneity:
    """Return the result without examples."""

    def joined(name: str) -> NDArray[np.float64]:
        return np.stack(
            [np.concatenate([getattr(own[m], name) for own in judged]) for m in range(len(MEASURES))]
        )

    return Homogeneity(
        config=config,
        network=atlas.model["name"],
        images=atlas.image_set["name"],
        rules=atlas.rules["name"],
        layers=tuple(own.layer.name for own in chosen),
        layer_index=np.repeat(np.arange(len(chosen)), [len(own.channels) for own in chosen]),
        channels=np.concatenate([own.channels for own in chosen]),
        n_hits=np.concatenate([own.counts for own in chosen]),
        purities=np.array([purity(own.labels_of(i)) for own in chosen for i in range(len(own.channels))]),
        map_scores=joined("scores"),
        null_means=joined("null_means"),
        null_spreads=joined("null_spreads"),
        percentiles=joined("percentiles"),
        p_values=joined("p_values"),
        nulls=np.stack([np.stack([own[m].null for own in judged]) for m in range(len(MEASURES))]),
        examples=np.zeros(0, np.uint8),
        example_channels=np.zeros(0, np.int64),
    )


def _with_examples(result: Homogeneity, hits: LayerHits) -> Homogeneity:
    """Return the result with pictures of the most and the least alike maps of its last layer."""
    ranked = result.ranked(hits.layer.name)
    n = min(_N_EXAMPLES, len(ranked) // 2)
    channels = [*ranked[:n], *ranked[len(ranked) - n :]]
    maps = [hits.layer[channel].hits for channel in channels]
    return replace(
        result, examples=draw_hits(hits.layer, maps), example_channels=np.array(channels, np.int64)
    )


def _report(progress: Progress | None, n_before: int, n_all: int, n: int) -> None:
    if progress is not None:
        progress("homogeneity", n_before + n, n_all)
