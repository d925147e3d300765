"""Faithfulness: cover the pixels that a projection shows, and the activation must fall more than for controls.

*Source*: Zeiler & Fergus (2013), section 4.2, ask whether the pixels shown are those that matter, for a few images of
one layer. *Differs*: here for hits of every layer, as a curve over the covered share, with several fills and controls.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from backlight.atlas import Atlas
from backlight.errors import BadInputError
from backlight.images import ImageSource, open_images
from backlight.network import Network
from backlight.network.layers import Layers, layer_names
from backlight.scan import Progress
from backlight.studies.checks import check_belongs
from backlight.studies.faithfulness.falls import Falls, Part
from backlight.studies.faithfulness.result import Faithfulness, FaithfulnessConfig, merged
from backlight.studies.progress import Count
from backlight.studies.subjects import Subject, choose_subjects, rule_sets_of


def run(
    atlas: Atlas,
    net: Network,
    images: ImageSource | Any,
    layers: Layers | None = None,
    config: FaithfulnessConfig | None = None,
    *,
    progress: Progress | None = None,
) -> Faithfulness:
    """Return how far the activations of an atlas's hits fall when what their projections show is covered.

    Args:
        atlas: A finished atlas.
        net: The network that it was built with.
        images: The images that it was built over.
        layers: Layers of the atlas; None takes all.
        config: What is covered, and of how many hits.
        progress: Called with `faithfulness`, the number of hits done and the number in all.

    Raises:
        BadInputError: The network or the images are not the atlas's, it is not finished, or there is nothing to study.
        UnknownLayerError: The atlas has no such layer.

    *Convention*: a share counts the pixels of the receptive field inside the image. A control that cannot choose pixels
    (another map's projection where no other map is active; another image where a map has one hit) is left out.
    """
    return merged(list(run_by_layer(atlas, net, images, layers, config, progress=progress)))


def run_by_layer(
    atlas: Atlas,
    net: Network,
    images: ImageSource | Any,
    layers: Layers | None = None,
    config: FaithfulnessConfig | None = None,
    *,
    progress: Progress | None = None,
) -> Iterator[Faithfulness]:
    """Yield what `run` finds, a layer at a time; layers for which the atlas has kept the same study are not rerun."""
    config = config or FaithfulnessConfig()
    source = open_images(images)
    check_belongs(atlas, net, source)
    chosen = _subjects(atlas, layers, config)
    n_all = sum(len(subjects) for maps in chosen.values() for subjects in maps)
    if not n_all:
        raise BadInputError("none of the layers has a hit to study; build the atlas with more maps or images")
    study = Falls(net, source, rule_sets_of(atlas, config.rivals), config)
    count = Count(progress, "faithfulness", n_all)
    for name, maps in chosen.items():
        known = _kept(atlas, name, config)
        if known is not None:
            count.add(len(known.values))
            yield known
        elif any(maps):
            parts = []
            for part in study.layer(net.layer(name), atlas[name].rules, maps):
                parts.append(part)
                count.add(len(part.subjects))
            yield _result(study, name, atlas[name].rules.name, parts)


def count_hits(atlas: Atlas, layers: Layers | None = None, config: FaithfulnessConfig | None = None) -> int:
    """Return how many hits `run` would study.

    Raises:
        UnknownLayerError: The atlas has no such layer.
    """
    return sum(
        len(own) for maps in _subjects(atlas, layers, config or FaithfulnessConfig()).values() for own in maps
    )


def _subjects(
    atlas: Atlas, layers: Layers | None, config: FaithfulnessConfig
) -> dict[str, list[list[Subject]]]:
    """Return by layer the hits that are studied, map by map."""
    return {
        name: choose_subjects(atlas, name, config.maps, config.hits, config.seed)
        for name in layer_names(layers or list(atlas))
    }


def _kept(atlas: Atlas, layer: str, config: FaithfulnessConfig) -> Faithfulness | None:
    """Return the same study of a layer as the atlas has kept it; None where it has not."""
    try:
        data = atlas[layer].studies.get(Faithfulness.study)
        found = Faithfulness.from_bytes(data) if data else None
    except BadInputError:  # damaged: the layer is studied again and the new result replaces it
        return None
    return found if found is not None and found.config == config else None


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
