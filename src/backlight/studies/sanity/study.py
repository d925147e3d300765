"""Sanity checks: do projections change when the weights are random, or the switches not those of the image?

A picture that stays the same with random weights shows the architecture and the image, not what was learnt; one that
changes with the switches shows what the image sent through them.

*Source*: Adebayo et al. (2018) for the weights; Mahendran & Vedaldi (2016) for switches to the centre. *Differs*: the
target is a unit of a layer, seeded with 1, since its own activation may be zero in a random network; random weights
are normal with the standard deviation of the trained ones, and their biases zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
from backlight.projection import Projector
from backlight.projection.controls import SWITCHES, Control, Switches, replaced_switches
from backlight.scan import Progress
from backlight.studies.belonging import check_belongs
from backlight.studies.faithfulness import Config as Chosen
from backlight.studies.faithfulness.falls import applies, choose_subjects
from backlight.studies.faithfulness.scores import Subject
from backlight.studies.intervals import bootstrap
from backlight.studies.results import Result
from backlight.studies.sanity.similarity import METRICS, similarities

if TYPE_CHECKING:
    from backlight.render.plots import Plot

RULE_SETS = (DECONVNET, GUIDED, GRADIENT)


@dataclass(frozen=True)
class Config:
    """Of how many hits.

    Attributes:
        maps: Feature maps of the layer, drawn at random among those projected, at least 1.
        hits: Hits of each, the strongest first, at least 1; two hits in all at least.
        seed: Of every draw.
    """

    maps: int = 8
    hits: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be done."""
        if self.seed < 0:
            raise BadInputError(f"a seed is at least 0, but came {self.seed}")
        if self.maps < 1 or self.hits < 1 or self.maps * self.hits < 2:
            raise BadInputError(
                f"at least two hits are needed, but came {self.maps} maps of {self.hits} hits; take more"
            )


@dataclass(frozen=True, eq=False)
class Sanity(Result):
    """How alike projections stay when weights or switches are replaced.

    Attributes:
        config: Of how many hits.
        layer: The layer.
        rules: The rule sets, those of the three that cover all operators below the layer.
        weights: The layers with weights, from the pixels up.
        top_down: (rules, weights, hits, metrics) similarity to the trained network's projection with the weights of
            this layer and of all above it random.
        one_by_one: The same with the weights of this layer alone random.
        switches: (rules, kinds, hits, metrics) with the switches replaced; kinds and metrics as in SWITCHES and
            METRICS. NaN where a projection is zero or there is no max pool.
    """

    config: Config
    layer: str
    rules: tuple[str, ...]
    weights: tuple[str, ...]
    top_down: NDArray[np.float64]
    one_by_one: NDArray[np.float64]
    switches: NDArray[np.float64]

    def summary(self) -> dict[str, Any]:
        """Return the mean similarities by rule set: all weights random, the topmost alone, each kind of switches."""
        return {
            name: {
                "all weights random": _means(self.top_down[i, 0]),
                "top weights random": _means(self.top_down[i, -1]),
                **{f"switches: {kind}": _means(self.switches[i, k]) for k, kind in enumerate(SWITCHES)},
            }
            for i, name in enumerate(self.rules)
        }

    def plot(self) -> Plot:
        """Return the curves over depth for each measure, and the effect of the switches."""
        from backlight.studies.sanity.plot import plot_sanity

        return plot_sanity(self)


def run(
    atlas: Atlas,
    net: Network,
    images: Any,
    layer: str | None = None,
    config: Config | None = None,
    progress: Progress | None = None,
) -> Sanity:
    """Return how alike projections of an atlas's hits stay when weights or switches are replaced.

    Args:
        atlas: A finished atlas.
        net: The network that it was built with.
        images: The images that it was built over.
        layer: A layer of the atlas; None takes the last.
        config: Of how many hits.
        progress: Called with `sanity`, the number of networks done and the number in all.

    Raises:
        BadInputError: Another network or other images than the atlas's, fewer than two hits.
        UnknownLayerError: The atlas has no such layer.
    """
    config, source = config or Config(), open_images(images)
    check_belongs(atlas, net, source)
    found = net.layer(layer or atlas.layers[-1].name)
    chosen = Chosen(maps=config.maps, hits=config.hits, seed=config.seed)
    subjects = [subject for own in choose_subjects(atlas, found.name, chosen) for subject in own]
    if len(subjects) < 2:
        raise BadInputError(
            f"layer {found.name!r} has fewer than two hits to study; build the atlas with more maps"
        )
    batch = net.preprocessing.batch([source.load(s.image_id) for s in subjects])  # type: ignore[union-attr]
    weights = weighted_below(net, found)
    study = _Study(found, subjects, batch, config, len(weights), progress or (lambda *_: None))
    study.trained(net)
    if not weights:
        raise BadInputError(f"layer {found.name!r} has no weights below it to replace; choose a later one")
    top_down, one_by_one = [], []
    for place, which in enumerate(weights):
        top_down.append(study.compare(study.randomised(net, weights[place:])))
        one_by_one.append(study.compare(study.randomised(net, [which])))
    switched = [study.switched(net, kind) for kind in SWITCHES]
    names = tuple(rules.name for rules in study.rule_sets)
    stacked = [np.stack(parts, 1) for parts in (top_down, one_by_one, switched)]
    return Sanity(config, found.name, names, tuple(w.name for w in weights), *stacked)


class _Study:
    """The projections of some hits with the trained network, and what others are like them."""

    def __init__(
        self,
        layer: Layer,
        subjects: Sequence[Subject],
        batch: Tensor,
        config: Config,
        n_weights: int,
        report: Callable[[str, int, int], None],
    ) -> None:
        self._layer, self._subjects, self._batch, self._seed = layer, subjects, batch, config.seed
        self._report, self._n_done, self._n_all = report, 0, 2 * n_weights + len(SWITCHES)
        self._reference: list[list[NDArray[np.float64]]] = []
        self.rule_sets: list[RuleSet] = []

    def trained(self, net: Network) -> None:
        """Take the projections of the trained network, to which all others are compared."""
        self.rule_sets = [rules for rules in RULE_SETS if applies(net, self._layer, rules)]
        self._reference = [self._project(net, rules, Control(1.0)) for rules in self.rule_sets]

    def randomised(self, net: Network, which: Sequence[Weighted]) -> Network:
        """Return the network with random weights in some layers; those of a layer are the same each time."""
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
            generator = torch.Generator().manual_seed(self._seed)
            found.append(self._project(net, rules, replaced_switches(kind, generator)))
        result = self._compared(found)
        has_switches = any(
            "max_pool" in str(node.target) for node in net.analysis.path([net.node(self._layer)])
        )
        return result if has_switches else np.full_like(result, np.nan)

    def _compared(self, found: Sequence[Sequence[NDArray[np.float64]]]) -> NDArray[np.float64]:
        self._n_done += 1
        self._report("sanity", self._n_done, self._n_all)
        return np.stack(
            [
                [similarities(one, other) for one, other in zip(*pair, strict=True)]
                for pair in zip(self._reference, found, strict=True)
            ]
        )

    def _project(self, net: Network, rules: RuleSet, control: Control) -> list[NDArray[np.float64]]:
        """Return each hit's projection (c, h, w) on the part of its receptive field inside of the image."""
        projector = Projector(net, [net.layer(self._layer)], rules, control=control)
        images = list(self._batch.to(net.device, net.dtype))
        found = projector(images, [subject.unit for subject in self._subjects])
        boxes = [subject.inside for subject in self._subjects]
        return [found.on(i, box).double().cpu().numpy() for i, box in enumerate(boxes)]


def _means(values: NDArray[np.float64]) -> dict[str, float | None]:
    return {name: bootstrap(values[:, i]).mean for i, name in enumerate(METRICS)}
