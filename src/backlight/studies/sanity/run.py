"""Sanity checks: do projections change when the weights are random, or the switches are not the image's own?

A projection that stays the same with random weights shows the architecture and the image, not what was learnt; one
that changes with the switches depends on the image.

*Source*: Adebayo et al. (2018) for the weights; Mahendran & Vedaldi (2016) for switches to the centre. *Differs*: the
target is a unit of a layer, seeded with 1, since its own activation may be zero in a random network; random weights
are normal with the standard deviation of the trained ones, and their biases zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backlight.atlas import Atlas
from backlight.errors import BadInputError
from backlight.images import open_images
from backlight.network import Layer, Network
from backlight.network.weights import Weighted, random_weights, weighted_below, with_weights
from backlight.operators.ruleset import DECONVNET, GRADIENT, GUIDED, RuleSet
from backlight.progress import Watching, shows_progress
from backlight.projection import Projector
from backlight.projection.controls import SWITCHES, Control, Switches, replaced_switches
from backlight.studies.checks import check_belongs
from backlight.studies.progress import Count
from backlight.studies.sanity.result import Sanity, SanityConfig
from backlight.studies.sanity.similarity import similarities
from backlight.studies.subjects import Subject, applies, choose_subjects

COMPARED_RULES = (DECONVNET, GUIDED, GRADIENT)


@shows_progress
def run(
    atlas: Atlas,
    net: Network,
    images: Any,
    layer: str | None = None,
    config: SanityConfig | None = None,
    *,
    progress: Watching = None,
) -> Sanity:
    """Return how alike projections of an atlas's hits stay when weights or switches are replaced.

    Args:
        atlas: A finished atlas.
        net: The network that it was built with.
        images: The images that it was built over.
        layer: A layer of the atlas; None takes the last.
        config: How many hits are studied.
        progress: True shows bars; a function is called with `sanity`, the number of networks done and the number in
            all.

    Raises:
        BadInputError: The network or the images are not the atlas's, it is not finished, or it has fewer than two
            hits of the layer.
        UnknownLayerError: The atlas has no such layer.
    """
    config, source = config or SanityConfig(), open_images(images)
    check_belongs(atlas, net, source)
    found = net.layer(layer or atlas.layers[-1].name)
    chosen = choose_subjects(atlas, found.name, config.maps, config.hits, config.seed)
    subjects = [subject for own in chosen for subject in own]
    if len(subjects) < 2:
        raise BadInputError(
            f"layer {found.name!r} has fewer than two hits to study; build the atlas with more maps"
        )
    batch = net.preprocessing.batch([source.load(s.image_id) for s in subjects])  # type: ignore[union-attr]
    weights = weighted_below(net, found)
    count = Count(progress, "sanity", 2 * len(weights) + len(SWITCHES))
    study = _Study(found, subjects, batch, config.seed, count)
    study.trained(net)
    if not weights:
        raise BadInputError(f"layer {found.name!r} has no weights below it to replace; choose a later one")
    top_down, one_by_one = [], []
    for place, which in enumerate(weights):  # from the pixels up: this layer and all above it, then it alone
        top_down.append(study.compare(study.randomised(net, weights[place:])))
        one_by_one.append(study.compare(study.randomised(net, [which])))
    switched = [study.switched(net, kind) for kind in SWITCHES]
    names = tuple(rules.name for rules in study.rule_sets)
    # each part is (rules, hits, metrics); stacked (rules, weights or kinds, hits, metrics)
    stacked = [np.stack(parts, 1) for parts in (top_down, one_by_one, switched)]
    return Sanity(config, found.name, names, tuple(w.name for w in weights), *stacked)


class _Study:
    """Projects hits with the trained network, and compares the projections of other networks with these."""

    def __init__(
        self,
        layer: Layer,
        subjects: Sequence[Subject],
        batch: Tensor,
        seed: int,
        count: Count,
    ) -> None:
        self._layer, self._subjects, self._batch = layer, subjects, batch
        self._seed, self._count = seed, count
        # by rule set, then hit: (c, h, w) each, lists since hits at the border have smaller projections
        self._reference: list[list[NDArray[np.float64]]] = []
        self.rule_sets: list[RuleSet] = []

    def trained(self, net: Network) -> None:
        """Project with the trained network, to which all others are compared."""
        self.rule_sets = [rules for rules in COMPARED_RULES if applies(net, self._layer, rules)]
        self._reference = [self._project(net, rules, Control(1.0)) for rules in self.rule_sets]

    def randomised(self, net: Network, which: Sequence[Weighted]) -> Network:
        """Return the network with random weights in some layers, which are the same each time for one layer."""
        weights: dict[str, Tensor] = {}
        for own in which:
            generator = np.random.default_rng([self._seed, *own.weight.encode()])
            weights |= random_weights(net, own, generator)
        return with_weights(net, weights)

    def compare(self, net: Network) -> NDArray[np.float64]:
        """Return the similarities (rules, hits, metrics) of another network's projections."""
        return self._compared([self._project(net, rules, Control(1.0)) for rules in self.rule_sets])

    def switched(self, net: Network, kind: Switches) -> NDArray[np.float64]:
        """Return the similarities (rules, hits, metrics) with the switches replaced."""
        found = []
        for rules in self.rule_sets:
            # seeded again, so that every rule set gets the same draws
            generator = torch.Generator().manual_seed(self._seed)
            found.append(self._project(net, rules, replaced_switches(kind, generator)))
        result = self._compared(found)
        has_switches = any(
            "max_pool" in str(node.target) for node in net.analysis.path([net.node(self._layer)])
        )
        return result if has_switches else np.full_like(result, np.nan)

    def _compared(self, found: Sequence[Sequence[NDArray[np.float64]]]) -> NDArray[np.float64]:
        """Return the similarities (rules, hits, metrics) of projections, by rule set and hit."""
        self._count.add()
        return np.stack(
            [
                [similarities(one, other) for one, other in zip(*pair, strict=True)]
                for pair in zip(self._reference, found, strict=True)
            ]
        )

    def _project(self, net: Network, rules: RuleSet, control: Control) -> list[NDArray[np.float64]]:
        """Return each hit's projection (c, h, w) on the part of its receptive field inside the image."""
        projector = Projector(net, [net.layer(self._layer)], rules, control=control)
        images = list(self._batch.to(net.device, net.dtype))
        found = projector(images, [subject.unit for subject in self._subjects])
        boxes = [subject.inside for subject in self._subjects]
        return [found.on(i, box).double().cpu().numpy() for i, box in enumerate(boxes)]
