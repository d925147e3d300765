"""Foretelling: slide a square over what a unit sees; does the activation fall where the projection has its energy?

*Source*: the protocol of squares over the field follows Zimmermann et al. (2021), How well do feature visualizations
support causal understanding of CNN activations?, section 3, where people foretold; here projections do. *Differs*:
besides the plain rank correlation, the partial one given the distance from the unit, as whatever lies near a unit's
middle matters more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backlight.atlas import Atlas
from backlight.geometry import Box
from backlight.images import ImageSource, open_images
from backlight.network import Layer, Network
from backlight.network.layers import Layers
from backlight.operators.ruleset import GRADIENT, RuleSet
from backlight.progress import Watching, shows_progress
from backlight.render import box_sides, low_pass
from backlight.studies.by_hit import count_of, count_subjects, layer_by_layer, merged, subjects_of
from backlight.studies.checks import check_belongs
from backlight.studies.covering import covered, filled
from backlight.studies.foretelling.result import (
    CENTRE,
    GRADIENT_INPUT,
    Foretelling,
    ForetellingConfig,
)
from backlight.studies.foretelling.squares import (
    partial_correlation,
    rank_correlation,
    squares_over,
    sums_under,
)
from backlight.studies.projected import HitProjector, inputs_of_hits
from backlight.studies.responses import UnitResponses
from backlight.studies.subjects import Subject, applies, rule_sets_of

_Found = tuple[int, NDArray[np.float64], NDArray[np.float64]]


@shows_progress
def run(
    atlas: Atlas,
    net: Network,
    images: ImageSource | Any,
    layers: Layers | None = None,
    config: ForetellingConfig | None = None,
    *,
    progress: Watching = None,
) -> Foretelling:
    """Return how well an atlas's projections tell where covering an image makes the activations of its hits fall.

    Args:
        atlas: A finished atlas.
        net: The network that it was built with.
        images: The images that it was built over.
        layers: Layers of the atlas; None takes all.
        config: Which squares cover which hits.
        progress: True shows bars; a function is called with `foretelling`, the number of hits done and the number in
            all.

    Raises:
        BadInputError: The network or the images are not the atlas's, it is not finished, or there is nothing to study.
        UnknownLayerError: The atlas has no such layer.

    *Convention*: energy is the sum of squares over channels and over the pixels under the square. `gradient x input` is
    the positive part of the unit's gradient times the input as the network takes it, normalised.
    """
    return merged(list(run_by_layer(atlas, net, images, layers, config, progress=progress)))


@shows_progress
def run_by_layer(
    atlas: Atlas,
    net: Network,
    images: ImageSource | Any,
    layers: Layers | None = None,
    config: ForetellingConfig | None = None,
    *,
    progress: Watching = None,
) -> Iterator[Foretelling]:
    """Yield what `run` finds, a layer at a time; layers for which the atlas has kept the same study are not rerun."""
    config = config or ForetellingConfig()
    source = open_images(images)
    check_belongs(atlas, net, source)
    chosen = subjects_of(atlas, layers, config)
    rule_sets = rule_sets_of(atlas, config.rivals)
    count = count_of(chosen, "foretelling", progress)

    def study(name: str, maps: list[list[Subject]]) -> Foretelling:
        found = []
        for one in _Squares(net, net.layer(name), rule_sets, config).each(source, maps):
            found.append(one)
            count.add(1)
        subjects = [subject for own in maps for subject in own]
        return _result(config, name, atlas[name].rules, rule_sets, subjects, found)

    yield from layer_by_layer(atlas, Foretelling, config, chosen, count, study)


def count_hits(atlas: Atlas, layers: Layers | None = None, config: ForetellingConfig | None = None) -> int:
    """Return how many hits `run` would study.

    Raises:
        UnknownLayerError: The atlas has no such layer.
    """
    return count_subjects(subjects_of(atlas, layers, config or ForetellingConfig()))


class _Squares:
    """Covers hits of a layer by squares."""

    def __init__(
        self, net: Network, layer: Layer, rule_sets: list[RuleSet], config: ForetellingConfig
    ) -> None:
        self._net, self._layer, self._config = net, layer, config
        self._rule_sets = rule_sets
        self._applied = [rules for rules in rule_sets if applies(net, layer, rules)]
        self._responses, self._project = UnitResponses(net, layer), HitProjector(net, layer)

    def each(self, source: ImageSource, maps: list[list[Subject]]) -> Iterator[_Found]:
        """Yield for each hit the number of squares, and the correlations, plain and partial, of the methods."""
        for subjects in maps:
            images = inputs_of_hits(self._net, source, subjects)
            units = [subject.unit for subject in subjects]
            # by rule set the projections of the map's hits, all at once
            projected = {rules: self._project(images, units, rules) for rules in self._applied}
            for i, (subject, image) in enumerate(zip(subjects, images, strict=True)):
                signals = {rules: own.on(i, subject.inside) for rules, own in projected.items()}
                yield self._correlations(subject, image, signals)

    def _correlations(self, subject: Subject, image: Tensor, signals: dict[RuleSet, Tensor]) -> _Found:
        squares = squares_over(subject.box, subject.inside, self._config.size, self._config.stride)
        falls = self._falls(subject, image, squares)
        row, col = subject.centre
        middles = np.array([((s.top + s.bottom - 1) / 2, (s.left + s.right - 1) / 2) for s in squares])
        distances = np.hypot(middles[:, 0] - row, middles[:, 1] - col)
        seen: list[NDArray[np.float64] | None] = [
            sums_under(self._energy(signals[rules]), squares, subject.inside) if rules in signals else None
            for rules in self._rule_sets
        ]
        product = signals.get(GRADIENT)
        if product is not None:
            product = (product * image[:, *subject.inside.slices()]).sum(0).clamp_min(0)
        seen.append(
            None if product is None else sums_under(product.double().cpu().numpy(), squares, subject.inside)
        )
        plain = [np.nan if own is None else rank_correlation(own, falls) for own in seen]
        partial = [np.nan if own is None else partial_correlation(own, falls, distances) for own in seen]
        return (
            len(squares),
            np.array([*plain, rank_correlation(-distances, falls)]),
            np.array([*partial, np.nan]),
        )

    def _energy(self, signal: Tensor) -> NDArray[np.float64]:
        """Return the energy (h, w) of a projection (c, h, w)."""
        values, field = signal.double().cpu().numpy(), self._layer.receptive_field
        if self._config.low_pass and field is not None:
            values = low_pass(values, box_sides(field.stride, self._config.low_pass))
        energy: NDArray[np.float64] = (values**2).sum(0)
        return energy

    def _falls(self, subject: Subject, image: Tensor, squares: list[Box]) -> NDArray[np.float64]:
        """Return the share of the activation that is lost under each square, at most 1."""
        unit, config = subject.unit, self._config
        window = self._responses.window(unit)
        key = [config.seed, *unit.layer.encode(), unit.channel, subject.rank]
        fill = filled(image, config.fill, np.random.default_rng(key))[:, *window.slices()]
        cut = image[:, *window.slices()]
        at = [square.shifted(-window.top, -window.left) for square in squares]
        inputs = torch.cat([cut[None], covered(cut, fill, at)])  # the uncovered window first
        values = self._responses(inputs, [unit] * len(inputs))
        falls: NDArray[np.float64] = 1 - values[1:].clip(0) / values[0]
        return falls


def _result(
    config: ForetellingConfig,
    layer: str,
    rules: RuleSet,
    rule_sets: list[RuleSet],
    subjects: list[Subject],
    found: list[_Found],
) -> Foretelling:
    counts, correlations, partial = zip(*found, strict=True)
    return Foretelling(
        config,
        (*(own.name for own in rule_sets), GRADIENT_INPUT, CENTRE),
        (layer,),
        (rules.name,),
        np.zeros(len(subjects), np.int64),
        np.array([subject.unit.channel for subject in subjects]),
        np.array([subject.rank for subject in subjects]),
        np.array(counts),
        np.stack(correlations),
        np.stack(partial),
    )
