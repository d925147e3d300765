"""Faithfulness: cover the pixels that a projection shows, and the activation must fall; beside controls.

*Source*: Zeiler & Fergus (2013), section 4.2, ask whether the pixels shown are those that matter, for a few images of
one layer. *Differs*: here for hits of every layer, as a curve over the covered share, with several fills and controls.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backlight.atlas import Atlas, Evidence, keep_evidence
from backlight.errors import BadInputError
from backlight.geometry import Box
from backlight.images import ImageSource, open_images
from backlight.network import Layer, Network
from backlight.projection import Unit
from backlight.render.plots import Plot
from backlight.rules import DECONVNET, GRADIENT, GUIDED, RuleSet
from backlight.scan import Progress
from backlight.studies.covering import Fill, check_fills, filled, largest_shares
from backlight.studies.responses import UnitResponses
from backlight.studies.results import Result
from backlight.studies.scores import CONTROLS, RANDOM, Scorer, Subject, draw_other, stack_masks
from backlight.studies.verdicts import Verdict, best_rules, judge

_MAPS_AT_ONCE = 4


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
        if not self.shares or not all(0 < share < 1 for share in self.shares):
            raise BadInputError(f"shares lie between 0 and 1, such as 0.05 and 0.2, but came {self.shares}")


@dataclass(frozen=True, eq=False)
class Faithfulness(Result):
    """How far activations fall when the pixels that a method chose are covered.

    Attributes:
        config: What was covered.
        methods: What chose the pixels: the atlas's rule set, then the other rule sets and the controls.
        layers: The layers.
        layer_index: (n,) of each hit its layer.
        channels: (n,) its feature map.
        ranks: (n,) its rank.
        values: (n,) its activation.
        falls: (n, methods, shares, fills) share of the activation that is lost: 1 where nothing is left, below 0 where
            it rises; NaN where a control is missing.
    """

    config: Config
    methods: tuple[str, ...]
    layers: tuple[str, ...]
    layer_index: NDArray[np.int64]
    channels: NDArray[np.int64]
    ranks: NDArray[np.int64]
    values: NDArray[np.float64]
    falls: NDArray[np.float64]

    def map_falls(self, layer: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the channels of a layer and (maps, methods, shares, fills) their falls, averaged over hits."""
        mine = self.layer_index == self.layers.index(layer)
        channels = np.unique(self.channels[mine])
        own = [_nanmean(self.falls[mine & (self.channels == channel)]) for channel in channels]
        return channels, np.stack(own)

    def verdict(self, layer: str, channel: int | None = None) -> Verdict:
        """Return the verdict on a layer, by its maps, or on one feature map, by its hits."""
        mine = self.layer_index == self.layers.index(layer)
        if channel is None:
            falls = _mean_over_coverings(self.map_falls(layer)[1])
        else:
            falls = _mean_over_coverings(self.falls[mine & (self.channels == channel)])
        return judge(self.methods, falls, CONTROLS, self.config.seed)

    def best_rules(self, layer: str) -> str:
        """Return the rule set with the best evidence for a layer."""
        falls = _mean_over_coverings(self.map_falls(layer)[1])
        own = {name: falls[:, i] for i, name in enumerate(self.methods) if name not in CONTROLS}
        return best_rules(own, self.methods[0], self.config.seed)

    def summary(self) -> dict[str, Any]:
        """Return by layer the mean falls, the verdict and the advised rule set."""
        return {layer: self._layer_summary(layer) for layer in self.layers}

    def _layer_summary(self, layer: str) -> dict[str, Any]:
        verdict = self.verdict(layer)
        n_hits = int((self.layer_index == self.layers.index(layer)).sum())
        return {
            "falls": verdict.falls,
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
        found = {}
        for layer in self.layers:
            channels, _ = self.map_falls(layer)
            maps = {int(c): self._evidence(layer, int(c)) for c in channels}
            found[layer] = self._evidence(layer, None), maps
        keep_evidence(Path(path), found)

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
        from backlight.studies.faithfulness_plot import plot_faithfulness

        return plot_faithfulness(self)


def run(
    atlas: Atlas,
    net: Network,
    images: ImageSource | Any,
    layers: Sequence[str] | None = None,
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
    config = config or Config()
    source = open_images(images)
    check_belongs(atlas, net, source)
    chosen = {name: _choose(atlas, name, config) for name in (layers or list(atlas))}
    n_all = sum(len(subjects) for maps in chosen.values() for subjects in maps)
    if not n_all:
        raise BadInputError("none of the layers has a hit to study; build the atlas with more maps or images")
    study = _Study(net, source, RuleSet(**atlas.rules), config)  # type: ignore[arg-type]
    report = progress or (lambda *_: None)
    rows: list[tuple[int, Subject]] = []
    values, falls = [], []
    for index, (name, maps) in enumerate(chosen.items()):
        for subjects, found_values, found in study.layer(net.layer(name), maps):
            rows += [(index, subject) for subject in subjects]
            values.append(found_values)
            falls.append(found)
            report("faithfulness", len(rows), n_all)
    return Faithfulness(
        config,
        study.methods,
        tuple(chosen),
        np.array([index for index, _ in rows]),
        np.array([subject.unit.channel for _, subject in rows]),
        np.array([subject.rank for _, subject in rows]),
        np.concatenate(values),
        np.concatenate(falls),
    )


def check_belongs(atlas: Atlas, net: Network, source: ImageSource) -> None:
    """Raise BadInputError unless the atlas is finished and was built with this network over these images."""
    if atlas.phase != "done":
        raise BadInputError(
            f"{atlas.path.name} is not finished; run the `backlight build` that began it again, it goes on"
        )
    if net.fingerprint() != atlas.model["fingerprint"]:
        raise BadInputError(f"{atlas.path.name} was built with another model or other weights; give those")
    if source.fingerprint() != atlas.image_set["fingerprint"]:
        raise BadInputError(f"{atlas.path.name} was built over other images than {source.name!r}; give those")


class _Study:
    """Covers what each method shows of hits, and measures."""

    def __init__(self, net: Network, source: ImageSource, rules: RuleSet, config: Config) -> None:
        self.net, self.source, self.config = net, source, config
        others = [r for r in (DECONVNET, GUIDED, GRADIENT) if r.name != rules.name]
        self.rule_sets = (rules, *others)
        self.methods = (*(r.name for r in self.rule_sets), *CONTROLS)

    def layer(
        self, layer: Layer, maps: Sequence[Sequence[Subject]]
    ) -> Iterator[tuple[list[Subject], NDArray[np.float64], NDArray[np.float64]]]:
        """Yield some hits at a time, with their activations and falls (n, methods, shares, fills)."""
        scorer, responses = Scorer(self.net, layer, self.rule_sets), UnitResponses(self.net, layer)
        for start in range(0, len(maps), _MAPS_AT_ONCE):
            subjects = [s for own in maps[start : start + _MAPS_AT_ONCE] for s in own]
            if not subjects:
                continue
            images = self._images(subjects)
            generators = [self._generator(layer, subject) for subject in subjects]
            windows = [
                image[:, *responses.window(s.unit).slices()]
                for image, s in zip(images, subjects, strict=True)
            ]
            around = responses.around(torch.stack(windows), [s.unit for s in subjects])
            others = [draw_other(a, s.unit, g) for a, s, g in zip(around, subjects, generators, strict=True)]
            scores = scorer(subjects, images, others)
            parts = zip(subjects, images, scores, generators, strict=True)
            found = [self._falls(responses, *part) for part in parts]
            values, falls = zip(*found, strict=True)
            yield subjects, np.array(values), np.stack(falls)

    def _falls(
        self,
        responses: UnitResponses,
        subject: Subject,
        image: Tensor,
        scores: dict[str, NDArray[np.float64]],
        generator: np.random.Generator,
    ) -> tuple[float, NDArray[np.float64]]:
        """Return a hit's activation, and its fall by method, share and fill."""
        config, unit = self.config, subject.unit
        scores = {RANDOM: generator.random((subject.inside.height, subject.inside.width)), **scores}
        fills = [filled(image, fill, generator) for fill in config.fills]
        window = responses.window(unit)
        masks = np.concatenate([largest_shares(own, config.shares, generator) for own in scores.values()])
        at = Box(
            subject.inside.top - window.top,
            subject.inside.left - window.left,
            subject.inside.bottom - window.top,
            subject.inside.right - window.left,
        )
        cut = image[:, *window.slices()]
        inputs = stack_masks(masks, cut, [fill[:, *window.slices()] for fill in fills], at).flatten(0, 1)
        inputs = torch.cat([cut[None], inputs])
        values = responses(inputs, [unit] * len(inputs))
        shape = len(scores), len(config.shares), len(config.fills)
        found = 1 - values[1:].reshape(shape) / values[0]
        falls = np.full((len(self.methods), *shape[1:]), np.nan)
        for own, name in zip(found, scores, strict=True):
            falls[self.methods.index(name)] = own
        return float(values[0]), falls

    def _images(self, subjects: Sequence[Subject]) -> list[Tensor]:
        ids = list(dict.fromkeys(subject.image_id for subject in subjects))
        batch = self.net.preprocessing.batch([self.source.load(i) for i in ids])  # type: ignore[union-attr]
        inputs = dict(zip(ids, batch.to(self.net.device, self.net.dtype), strict=True))
        return [inputs[subject.image_id] for subject in subjects]

    def _generator(self, layer: Layer, subject: Subject) -> np.random.Generator:
        key = [self.config.seed, *layer.name.encode(), subject.unit.channel, subject.rank]
        return np.random.default_rng(key)


def _choose(atlas: Atlas, name: str, config: Config) -> list[list[Subject]]:
    """Return the hits of the maps of a layer that are studied, map by map."""
    layer, crop = atlas[name], atlas.preprocessing.crop
    channels = [c for c in layer.channels if layer[c].hits]
    if config.maps is not None and config.maps < len(channels):
        drawn = np.random.default_rng([config.seed, *name.encode()]).permutation(len(channels))
        channels = sorted(channels[i] for i in drawn[: config.maps])
    return [
        [
            Subject(Unit(name, c, hit.row, hit.col), hit.image_id, hit.rank, hit.box, hit.box.clip(*crop))
            for hit in layer[c].hits[: config.hits]
        ]
        for c in channels
    ]


def _mean_over_coverings(falls: NDArray[np.float64]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = falls.mean((2, 3))
    return result


def _nanmean(falls: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean over the first axis of what is there; NaN where nothing is."""
    kept = ~np.isnan(falls)
    total, count = np.where(kept, falls, 0).sum(0), kept.sum(0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
