"""Faithfulness: cover the pixels that a projection shows, and the activation must fall more than for controls.

*Source*: Zeiler & Fergus (2013), section 4.2, ask whether the pixels shown are those that matter, for a few images of
one layer. *Differs*: here for hits of every layer, as a curve over the covered share, with several fills and controls.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from backlight.atlas import Atlas
from backlight.images import ImageSource, open_images
from backlight.network import Network
from backlight.network.layers import Layers
from backlight.progress import Watching, shows_progress
from backlight.studies.by_hit import count_of, count_subjects, layer_by_layer, merged, subjects_of
from backlight.studies.checks import check_belongs
from backlight.studies.faithfulness.falls import Falls, Part
from backlight.studies.faithfulness.result import Faithfulness, FaithfulnessConfig
from backlight.studies.subjects import Subject, rule_sets_of


@shows_progress
def run(
    atlas: Atlas,
    net: Network,
    images: ImageSource | Any,
    layers: Layers | None = None,
    config: FaithfulnessConfig | None = None,
    *,
    progress: Watching = None,
) -> Faithfulness:
    """Return how far the activations of an atlas's hits fall when what their projections show is covered.

    Args:
        atlas: A finished atlas.
        net: The network that it was built with.
        images: The images that it was built over.
        layers: Layers of the atlas; None takes all.
        config: What is covered, and of how many hits.
        progress: True shows bars; a function is called with `faithfulness`, the number of hits done and the number in
            all.

    Raises:
        BadInputError: The network or the images are not the atlas's, it is not finished, or there is nothing to study.
        UnknownLayerError: The atlas has no such layer.

    *Convention*: a share counts the pixels of the receptive field inside the image. A control that cannot choose pixels
    (another map's projection where no other map is active; another image where a map has one hit) is left out.
    """
    return merged(list(run_by_layer(atlas, net, images, layers, config, progress=progress)))


@shows_progress
def run_by_layer(
    atlas: Atlas,
    net: Network,
    images: ImageSource | Any,
    layers: Layers | None = None,
    config: FaithfulnessConfig | None = None,
    *,
    progress: Watching = None,
) -> Iterator[Faithfulness]:
    """Yield what `run` finds, a layer at a time; layers for which the atlas has kept the same study are not rerun."""
    config = config or FaithfulnessConfig()
    source = open_images(images)
    check_belongs(atlas, net, source)
    chosen = subjects_of(atlas, layers, config)
    falls = Falls(net, source, rule_sets_of(atlas, config.rivals), config)
    count = count_of(chosen, "faithfulness", progress)

    def study(name: str, maps: list[list[Subject]]) -> Faithfulness:
        parts = []
        for part in falls.layer(net.layer(name), atlas[name].rules, maps):
            parts.append(part)
            count.add(len(part.subjects))
        return _result(falls, name, atlas[name].rules.name, parts)

    yield from layer_by_layer(atlas, Faithfulness, config, chosen, count, study)


def count_hits(atlas: Atlas, layers: Layers | None = None, config: FaithfulnessConfig | None = None) -> int:
    """Return how many hits `run` would study.

    Raises:
        UnknownLayerError: The atlas has no such layer.
    """
    return count_subjects(subjects_of(atlas, layers, config or FaithfulnessConfig()))


def _result(study: Falls, layer: str, rules: str, parts: Sequence[Part]) -> Faithfulness:
    subjects = [subject for part in parts for subject in part.subjects]
    return Faithfulness(
        study.config,
        study.methods,
        (layer,),
        (rules,),
        np.zeros(len(subjects), np.int64),
        np.array([subject.unit.channel for subject in subjects]),
        np.array([subject.rank for subject in subjects]),
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("values", "falls", "turned")),
    )
