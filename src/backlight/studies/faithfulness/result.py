"""What a faithfulness study takes and finds: its configuration and its result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from backlight.atlas import Evidence, keep_evidence
from backlight.errors import BadInputError
from backlight.studies.by_hit import HitResult
from backlight.studies.checks import check_at_least
from backlight.studies.covering import Fill, check_fills
from backlight.studies.faithfulness.scores import CONTROLS
from backlight.studies.faithfulness.verdicts import Verdict, advised_rules, judge, judge_maps
from backlight.studies.intervals import Interval, mean_interval
from backlight.studies.numbers import nanmean, plain


@dataclass(frozen=True)
class FaithfulnessConfig:
    """What is covered, and of how many hits.

    Attributes:
        maps: How many feature maps of each layer, drawn at random from those projected; None takes all of them.
        hits: How many hits of each map, the strongest first.
        shares: Shares of the receptive field's pixels (inside the image) that are covered, above 0 and below 1.
        fills: What the covered pixels show.
        seed: Random seed for every draw.
        rivals: Further rule sets to compare, as `parse_rules` reads them.
    """

    maps: int | None = 16
    hits: int = 9
    shares: tuple[float, ...] = (0.05, 0.1, 0.2)
    fills: tuple[Fill, ...] = ("mean", "blur", "noise")
    seed: int = 0
    rivals: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the values."""
        check_fills(self.fills)
        check_at_least(1, maps=self.maps, hits=self.hits)
        check_at_least(0, seed=self.seed)
        if not self.shares or not all(0 < share < 1 for share in self.shares):
            raise BadInputError(f"shares lie between 0 and 1, such as 0.05 and 0.2, got {self.shares}")


@dataclass(frozen=True, eq=False, repr=False)
class Faithfulness(HitResult):
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
        falls: (n, methods, shares, fills) share of the activation that is lost: 1 where nothing is left (or it falls
            below zero), below 0 where it rises; NaN where a control is missing or a rule set does not cover all
            operators.
        turned: (n, rule sets, shares, fills) the same for the masks of each rule set turned about the unit; those of
            the atlas's own rules are also the control `turned` of falls.
    """

    study: ClassVar[str] = "faithfulness"

    config: FaithfulnessConfig
    values: NDArray[np.float64]
    falls: NDArray[np.float64]
    turned: NDArray[np.float64]

    def map_falls(self, layer: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the channels of a layer and (maps, methods, shares, fills) their falls, averaged over hits."""
        return np.unique(self.channels[self.hits_of(layer)]), self.by_map(layer, self.falls)

    def verdict(self, layer: str, channel: int | None = None) -> Verdict:
        """Return the verdict on a layer, by its maps, or on one feature map, by its hits."""
        if channel is not None:
            return self.map_verdicts(layer)[channel]
        order = self._order(layer)
        falls = _mean_over_coverings(self.map_falls(layer)[1])
        return judge([self.methods[i] for i in order], falls[:, order], CONTROLS, self.config.seed)

    def map_verdicts(self, layer: str) -> dict[int, Verdict]:
        """Return the verdicts on the maps of a layer by channel, each by its hits, corrected for being several."""
        mine, order = self.hits_of(layer), self._order(layer)
        channels = np.unique(self.channels[mine])
        falls = [_mean_over_coverings(self.falls[mine & (self.channels == c)])[:, order] for c in channels]
        verdicts = judge_maps([self.methods[i] for i in order], falls, CONTROLS, self.config.seed)
        return dict(zip(channels.tolist(), verdicts, strict=True))

    def _order(self, layer: str) -> list[int]:
        """Return the positions of the methods, the projection under judgement first."""
        own = self.methods.index(self.own_rules(layer))
        return [own, *(i for i in range(len(self.methods)) if i != own)]

    def advised_rules(self, layer: str) -> str:
        """Return the rule set with the best evidence for a layer."""
        names = [name for name in self.methods if name not in CONTROLS]
        falls, turned = (
            dict(zip(names, _mean_over_coverings(self.by_map(layer, values)).T, strict=False))
            for values in (self.falls, self.turned)
        )
        return advised_rules(falls, turned, self.own_rules(layer), self.config.seed)

    def gains(self, layer: str) -> dict[str, Interval]:
        """Return by rule set what its masks gain over themselves turned, with the interval over maps."""
        names = [name for name in self.methods if name not in CONTROLS]
        own, turned = (
            _mean_over_coverings(self.by_map(layer, values)) for values in (self.falls, self.turned)
        )
        return {name: mean_interval(own[:, i] - turned[:, i]) for i, name in enumerate(names)}

    def summary(self) -> dict[str, Any]:
        """Return by layer the mean falls and gains with 95 % intervals over maps, the verdict and the advised rules."""
        return {layer: self._layer_summary(layer) for layer in self.layers}

    def _layer_summary(self, layer: str) -> dict[str, Any]:
        verdict = self.verdict(layer)
        by_map = self.map_falls(layer)[1]  # (maps, methods, shares, fills)
        found = [mean_interval(column) for column in _mean_over_coverings(by_map).T]
        by_share = nanmean(by_map.mean(3))  # (methods, shares)
        return {
            "falls": verdict.falls,
            "intervals": {m: [i.low, i.high] for m, i in zip(self.methods, found, strict=True)},
            "falls_by_share": {
                m: [plain(float(v)) for v in own] for m, own in zip(self.methods, by_share, strict=True)
            },
            "gains_over_turned": {m: [i.mean, i.low, i.high] for m, i in self.gains(layer).items()},
            "p_values": {name: gain.p for name, gain in verdict.gains.items()},
            "verdict": verdict.text,
            "best_rules": self.advised_rules(layer),
            "n_maps": verdict.n,
            "n_hits": int(self.hits_of(layer).sum()),
        }

    def keep(self, path: Path | str) -> None:
        """Store the evidence in the atlas, whose figures show it from then on.

        Raises:
            UnknownLayerError: The atlas has no such layer.
            StorageError: The atlas cannot be written.
        """
        for layer in self.layers:
            best = self.advised_rules(layer)
            maps = {c: _evidence(own, best) for c, own in self.map_verdicts(layer).items()}
            whole = _evidence(self.verdict(layer), best)
            keep_evidence(Path(path), layer, whole, maps, self.of(layer).to_bytes())


def _evidence(verdict: Verdict, best_rules: str) -> Evidence:
    return Evidence(verdict.falls, verdict.text, verdict.is_strong, best_rules, verdict.n)


def _mean_over_coverings(falls: NDArray[np.float64]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = falls.mean((2, 3))  # (n, methods) of (n, methods, shares, fills)
    return result
