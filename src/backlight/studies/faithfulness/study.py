"""Faithfulness: cover the pixels that a projection shows, and the activation must fall; beside controls.

*Source*: Zeiler & Fergus (2013), section 4.2, ask whether the pixels shown are those that matter, for a few images of
one layer. *Differs*: here for hits of every layer, as a curve over the covered share, with several fills and controls.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from backlight.atlas import Atlas, Evidence, keep_evidence
from backlight.errors import BadInputError
from backlight.images import ImageSource, open_images
from backlight.network import Network
from backlight.network.layers import Layers, layer_names
from backlight.operators.ruleset import DECONVNET, GRADIENT, GUIDED, RuleSet
from backlight.scan import Progress
from backlight.studies.belonging import check_belongs
from backlight.studies.covering import Fill, check_fills
from backlight.studies.faithfulness.falls import Falls, choose_subjects
from backlight.studies.faithfulness.scores import CONTROLS, Subject
from backlight.studies.faithfulness.verdicts import Verdict, best_rules, judge
from backlight.studies.intervals import bootstrap
from backlight.studies.numbers import nanmean
from backlight.studies.results import Result

if TYPE_CHECKING:
    from backlight.render.plots import Plot


@dataclass(frozen=True)
class Config:
    """What is covered, and of how many hits.

    Attributes:
        maps: Feature maps of each layer, drawn at random among those projected; None takes all of them.
        hits: Hits of each map, the strongest first.
        shares: Shares of the receptive field's pixels (inside of the image) that are covered, above 0 and below 1.
        fills: What the covered pixels show.
        seed: Of every draw.
    """

    maps: int | None = 16
    hits: int = 3
    shares: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4)
    fills: tuple[Fill, ...] = ("mean", "blur", "noise")
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be done."""
        check_fills(self.fills)
        if self.hits < 1 or (self.maps is not None and self.maps < 1):
            raise BadInputError(f"maps and hits must be at least 1, but came {self.maps} and {self.hits}")
        if self.seed < 0:
            raise BadInputError(f"a seed is at least 0, but came {self.seed}")
        if not self.shares or not all(0 < share < 1 for share in self.shares):
            raise BadInputError(f"shares lie between 0 and 1, such as 0.05 and 0.2, but came {self.shares}")


@dataclass(frozen=True, eq=False)
class Faithfulness(Result):
    """How far activations fall when the pixels that a method chose are covered.

    Attributes:
        config: What was covered.
        methods: What chose the pixels: the rule sets, then the controls.
        layers: The layers.
        rules: For each layer the atlas's own rule set, one of the methods.
        layer_index: (n,) of each hit its layer.
        channels: (n,) its feature map.
        ranks: (n,) its rank.
        values: (n,) its activation.
        falls: (n, methods, shares, fills) share of the activation that is lost: 1 where nothing is left, below 0 where
            it rises; NaN where a control is missing, or a rule set does not cover all operators.
    """

    config: Config
    methods: tuple[str, ...]
    layers: tuple[str, ...]
    rules: tuple[str, ...]
    layer_index: NDArray[np.int64]
    channels: NDArray[np.int64]
    ranks: NDArray[np.int64]
    values: NDArray[np.float64]
    falls: NDArray[np.float64]

    def map_falls(self, layer: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the channels of a layer and (maps, methods, shares, fills) their falls, averaged over hits."""
        mine = self.layer_index == self.layers.index(layer)
        channels = np.unique(self.channels[mine])
        own = [nanmean(self.falls[mine & (self.channels == channel)]) for channel in channels]
        return channels, np.stack(own)

    def verdict(self, layer: str, channel: int | None = None) -> Verdict:
        """Return the verdict on a layer, by its maps, or on one feature map, by its hits."""
        mine = self.layer_index == self.layers.index(layer)
        if channel is None:
            falls = _mean_over_coverings(self.map_falls(layer)[1])
        else:
            falls = _mean_over_coverings(self.falls[mine & (self.channels == channel)])
        own = self.methods.index(self.own_rules(layer))
        order = [own, *(i for i in range(len(self.methods)) if i != own)]
        return judge([self.methods[i] for i in order], falls[:, order], CONTROLS, self.config.seed)

    def own_rules(self, layer: str) -> str:
        """Return the rule set that the atlas's projections of a layer were made by."""
        return self.rules[self.layers.index(layer)]

    def best_rules(self, layer: str) -> str:
        """Return the rule set with the best evidence for a layer."""
        falls = _mean_over_coverings(self.map_falls(layer)[1])
        own = {name: falls[:, i] for i, name in enumerate(self.methods) if name not in CONTROLS}
        return best_rules(own, self.own_rules(layer), self.config.seed)

    def summary(self) -> dict[str, Any]:
        """Return by layer the mean falls with their 95 % intervals over maps, the verdict and the advised rule set."""
        return {layer: self._layer_summary(layer) for layer in self.layers}

    def _layer_summary(self, layer: str) -> dict[str, Any]:
        verdict = self.verdict(layer)
        falls = _mean_over_coverings(self.map_falls(layer)[1])
        found = [bootstrap(column, self.config.seed) for column in falls.T]
        n_hits = int((self.layer_index == self.layers.index(layer)).sum())
        return {
            "falls": verdict.falls,
            "intervals": {m: [i.low, i.high] for m, i in zip(self.methods, found, strict=True)},
            "verdict": verdict.text,
            "best_rules": self.best_rules(layer),
            "n_maps": len(self.map_falls(layer)[0]),
            "n_hits": n_hits,
        }

    def keep(self, path: Path | str) -> None:
        """Keep the evidence in the atlas, whose figures show it from then on.

        Raises:
            UnknownLayerError: The atlas has no such layer.
            StorageError: It cannot be written.
        """
        for layer in self.layers:
            maps = {int(c): self._evidence(layer, int(c)) for c in self.map_falls(layer)[0]}
            keep_evidence(Path(path), layer, self._evidence(layer, None), maps, self.of(layer).to_bytes())

    def of(self, layer: str) -> Faithfulness:
        """Return the result of one layer."""
        mine = self.layer_index == self.layers.index(layer)
        arrays = (self.channels, self.ranks, self.values, self.falls)
        index = np.zeros(int(mine.sum()), np.int64)
        return Faithfulness(
            self.config,
            self.methods,
            (layer,),
            (self.own_rules(layer),),
            index,
            *(array[mine] for array in arrays),
        )

    def _evidence(self, layer: str, channel: int | None) -> Evidence:
        verdict = self.verdict(layer, channel)
        mine = self.layer_index == self.layers.index(layer)
        n = (
            len(np.unique(self.channels[mine]))
            if channel is None
            else int((mine & (self.channels == channel)).sum())
        )
        return Evidence(verdict.falls, verdict.text, verdict.is_strong, self.best_rules(layer), n)

    def plot(self) -> Plot:
        """Return the curves of every layer: fall against covered share, each method with its interval."""
        from backlight.studies.faithfulness.plot import plot_faithfulness

        return plot_faithfulness(self)


def run(
    atlas: Atlas,
    net: Network,
    images: ImageSource | Any,
    layers: Layers | None = None,
    config: Config | None = None,
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
        BadInputError: Another network or other images than the atlas's, nothing to study.
        UnknownLayerError: The atlas has no such layer.
        AtlasError: The atlas is not finished.

    *Convention*: a share is one of the pixels of the receptive field inside of the image. A control that gives no
    pixels (the projection of another map where no other is active; another image where a map has one hit) is left out.
    """
    return merged(list(run_by_layer(atlas, net, images, layers, config, progress)))


def run_by_layer(
    atlas: Atlas,
    net: Network,
    images: ImageSource | Any,
    layers: Layers | None = None,
    config: Config | None = None,
    progress: Progress | None = None,
) -> Iterator[Faithfulness]:
    """Yield what `run` finds, a layer at a time; what the atlas has kept of the same study is not done again."""
    config = config or Config()
    source = open_images(images)
    check_belongs(atlas, net, source)
    chosen = {name: choose_subjects(atlas, name, config) for name in layer_names(layers or list(atlas))}
    n_all = sum(len(subjects) for maps in chosen.values() for subjects in maps)
    if not n_all:
        raise BadInputError("none of the layers has a hit to study; build the atlas with more maps or images")
    study = Falls(net, source, _rule_sets(atlas), config)
    report = progress or (lambda *_: None)
    n_done = 0
    for name, maps in chosen.items():
        known = _kept(atlas, name, config)
        if known is not None:
            n_done += len(known.values)
            report("faithfulness", n_done, n_all)
            yield known
        elif any(maps):
            parts = []
            for part in study.layer(net.layer(name), atlas[name].rules, maps):
                parts.append(part)
                n_done += len(part[0])
                report("faithfulness", n_done, n_all)
            yield _result(study, name, atlas[name].rules.name, parts)


def count_hits(atlas: Atlas, layers: Layers | None = None, config: Config | None = None) -> int:
    """Return how many hits `run` would study.

    Raises:
        UnknownLayerError: The atlas has no such layer.
    """
    config = config or Config()
    return sum(
        len(own)
        for name in layer_names(layers or list(atlas))
        for own in choose_subjects(atlas, name, config)
    )


def _kept(atlas: Atlas, layer: str, config: Config) -> Faithfulness | None:
    """Return what the atlas has kept of the same study of a layer."""
    try:
        data = atlas[layer].study
        found = Faithfulness.from_bytes(data) if data else None
    except BadInputError:  # damaged: the layer is studied again, and the answer takes its place
        return None
    return found if found is not None and found.config == config else None


def _rule_sets(atlas: Atlas) -> list[RuleSet]:
    """Return the three rule sets, and those of the atlas besides."""
    known = {rules.name: rules for rules in (DECONVNET, GUIDED, GRADIENT)}
    return list((known | {layer.rules.name: layer.rules for layer in atlas.layers}).values())


def _result(
    study: Falls,
    layer: str,
    rules: str,
    parts: Sequence[tuple[list[Subject], NDArray[np.float64], NDArray[np.float64]]],
) -> Faithfulness:
    subjects = [subject for part in parts for subject in part[0]]
    return Faithfulness(
        study.config,
        study.methods,
        (layer,),
        (rules,),
        np.zeros(len(subjects), np.int64),
        np.array([subject.unit.channel for subject in subjects]),
        np.array([subject.rank for subject in subjects]),
        np.concatenate([values for _, values, _ in parts]),
        np.concatenate([falls for *_, falls in parts]),
    )


def merged(results: Sequence[Faithfulness]) -> Faithfulness:
    """Return the results of several layers as one."""
    index = [np.full(len(result.values), i) for i, result in enumerate(results)]
    arrays = [
        np.concatenate([getattr(result, name) for result in results])
        for name in ("channels", "ranks", "values", "falls")
    ]
    layers = tuple(layer for result in results for layer in result.layers)
    rules = tuple(own for result in results for own in result.rules)
    return Faithfulness(results[0].config, results[0].methods, layers, rules, np.concatenate(index), *arrays)


def _mean_over_coverings(falls: NDArray[np.float64]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = falls.mean((2, 3))
    return result
