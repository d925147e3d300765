"""Homogeneity: how alike are the hits of one feature map, compared with hits of different maps of its layer?

*Source*: Zeiler & Fergus (2013), section 4.1, say of Fig. 2 that the projections of a map are strongly grouped, and
that their differences show its invariance. *Differs*: the paper leaves this to the eye; here it is a number for each
map and layer, compared with chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from backlight.atlas import Atlas
from backlight.network.layers import Layers, layer_names
from backlight.progress import Watching, shows_progress
from backlight.studies.checks import check_finished
from backlight.studies.homogeneity.alike import Judged, purity
from backlight.studies.homogeneity.likeness import (
    ASPECTS,
    LayerHits,
    hits_of,
    judge_layer,
)
from backlight.studies.homogeneity.result import Homogeneity, HomogeneityConfig
from backlight.studies.homogeneity.sheets import draw_hits
from backlight.studies.progress import Count

_N_EXAMPLES = 3


@shows_progress
def run(
    atlas: Atlas,
    layers: Layers | None = None,
    config: HomogeneityConfig | None = None,
    *,
    progress: Watching = None,
) -> Homogeneity:
    """Return how alike the hits of each feature map of an atlas are, compared with hits of different maps.

    The score of a map is the mean similarity over the pairs of its hits. For `projections` and `patches` this is the
    correlation of the edges (HOG) in tiles aligned on the unit, where both lie inside their images. What all hits of
    the layer have in common is subtracted first, so that chance is near 0 and equal tiles score 1. For `colours` it is
    1 - distance / 100 of the mean CIELAB colours around the unit, for `labels` the share of pairs with the same label.

    A high score says that the hits have something in common, not that it means anything. Projections of a network with
    random weights score high too: in its first layer they are the filter itself, and in later ones they still show the
    filters more than the image. Compare with an atlas of the same network without its trained weights.

    Args:
        atlas: A finished atlas.
        layers: Layers of the atlas; None takes all.
        config: How chance is estimated.
        progress: True shows bars; a function is called with `homogeneity`, the number of hits done and the number in
            all.

    Raises:
        BadInputError: The atlas is not finished, or a layer has hits of one map only, or only one hit of each map.
        UnknownLayerError: The atlas has no such layer.

    *Convention*: see `alike.draw_sets` for how sets are drawn, `aligned.aligned_tiles` for how tiles are aligned, and
    `descriptors.describe` for how they are compared.
    """
    config = config or HomogeneityConfig()
    check_finished(atlas)
    chosen = [hits_of(atlas, name) for name in layer_names(layers or list(atlas))]
    count = Count(progress, "homogeneity", sum(len(own.hits) for own in chosen))
    size = atlas.preprocessing.crop
    judged = [judge_layer(own, size, config.n_draws, config.seed, count.add) for own in chosen]
    return _with_examples(_result(atlas, config, chosen, judged), chosen[-1])


def _result(
    atlas: Atlas, config: HomogeneityConfig, chosen: Sequence[LayerHits], judged: Sequence[Sequence[Judged]]
) -> Homogeneity:
    """Return the result without examples."""

    def joined(name: str) -> NDArray[np.float64]:
        # (aspects, maps), the maps of all layers one after the other
        return np.stack(
            [np.concatenate([getattr(own[m], name) for own in judged]) for m in range(len(ASPECTS))]
        )

    return Homogeneity(
        config=config,
        network=atlas.model.name,
        images=atlas.image_set.name,
        rules=atlas.rules.name,
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
        nulls=np.stack([np.stack([own[m].null for own in judged]) for m in range(len(ASPECTS))]),
        examples=np.zeros(0, np.uint8),
        example_channels=np.zeros(0, np.int64),
    )


def _with_examples(result: Homogeneity, hits: LayerHits) -> Homogeneity:
    """Return the result with pictures of the most and the least alike maps of its last layer."""
    ranked = result.ranked(hits.layer.name)
    # at most half of the maps at either end, so that none is shown twice
    n = min(_N_EXAMPLES, len(ranked) // 2)
    channels = [*ranked[:n], *ranked[len(ranked) - n :]]
    maps = [hits.layer[channel].hits for channel in channels]
    return replace(
        result, examples=draw_hits(hits.layer, maps), example_channels=np.array(channels, np.int64)
    )
