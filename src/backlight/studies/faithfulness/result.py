"""What a faithfulness study takes and finds: its configuration and its result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from backlight.atlas import Evidence, keep_evidence
from backlight.errors import BadInputError
from backlight.studies.checks import check_at_least
from backlight.studies.covering import Fill, check_fills
from backlight.studies.faithfulness.scores import CONTROLS
from backlight.studies.faithfulness.verdicts import Verdict, advised_rules, judge
from backlight.studies.intervals import bootstrap
from backlight.studies.numbers import nanmean
from backlight.studies.results import Result


@dataclass(frozen=True)
class FaithfulnessConfig:
    """What is covered, and of how many hits.

    Attributes:
        maps: How many feature maps of each layer, drawn at random from those projected; None takes all of them.
        hits: How many hits of each map, the strongest first.
        shares: Shares of the receptive field's pixels (inside the image) that are covered, above 0 and below 1.
        fills: What the covered pixels show.
        seed: Random seed for every draw.
    """

    maps: int | None = 16
    hits: int = 3
    shares: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4)
    fills: tuple[Fill, ...] = ("mean", "blur", "noise")
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the values."""
        check_fills(self.fills)
        check_at_least(1, maps=self.maps, hits=self.hits)
        check_at_least(0, seed=self.seed)
        if not self.shares or not all(0 < share < 1 for share in self.shares):
            raise BadInputError(f"shares lie between 0 and 1, such as 0.05 and 0.2, got {self.shares}")


@dataclass(frozen=True, eq=False)
class Faithfulness(Result):
    """How far activations fall when the pixels that a method chose are covered.

    Attributes:
        config: What was covered.
        methods: What chose the pixels: the rule sets, then the controls.
        layers: The layers.
        rules: For each layer the atlas's own rule set, one of the methods.
        layer_index: (n,) the layer of each of n hits, as a position in layers.
        channels: (n,) their feature maps.
        ranks: (n,) their ranks among the map's hits.
        values: (n,) their activations.
        falls: (n, methods, shares, fills) share of the activation that is lost: 1 where nothing is left, below 0 where
            it rises; NaN where a control is missing or a rule set does not cover all operators.
    """

    study: ClassVar[str] = "faithfulness"

    config: FaithfulnessConfig
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
        # each (methods, shares, fills), the mean over the map's hits
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
        # the projection under judgement first, in both methods and columns
        order = [own, *(i for i in range(len(self.methods)) if i != own)]
        return judge([self.methods[i] for i in order], falls[:, order], CONTROLS, self.config.seed)

    def own_rules(self, layer: str) -> str:
        """Return the rule set with which the atlas's projections of a layer were made."""
        return self.rules[self.layers.index(layer)]

    def advised_rules(self, layer: str) -> str:
        """Return the rule set with the best evidence for a layer."""
        falls = _mean_over_coverings(self.map_falls(layer)[1])  # (maps, methods)
        own = {name: falls[:, i] for i, name in enumerate(self.methods) if name not in CONTROLS}
        return advised_rules(own, self.own_rules(layer), self.config.seed)

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
            "best_rules": self.advised_rules(layer),
            "n_maps": len(self.map_falls(layer)[0]),
            "n_hits": n_hits,
        }

    def keep(self, path: Path | str) -> None:
        """Store the evidence in the atlas, whose figures show it from then on.

        Raises:
            UnknownLayerError: The atlas has no such layer.
            StorageError: The atlas cannot be written.
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
        return Evidence(verdict.falls, verdict.text, verdict.is_strong, self.advised_rules(layer), n)


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
    result: NDArray[np.float64] = falls.mean((2, 3))  # (n, methods) of (n, methods, shares, fills)
    return result
