"""What a study of foretelling takes and finds: its configuration and its result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from backlight.atlas import Foretold, keep_evidence
from backlight.errors import BadInputError
from backlight.studies.by_hit import HitResult
from backlight.studies.checks import check_at_least
from backlight.studies.covering import Fill, check_fills
from backlight.studies.intervals import Interval, mean_interval, sign_flip_p
from backlight.studies.numbers import nanmean, plain

CENTRE, GRADIENT_INPUT = "centre", "gradient x input"


@dataclass(frozen=True)
class ForetellingConfig:
    """Which squares cover which hits.

    Attributes:
        maps: How many feature maps of each layer, drawn at random from those projected; None takes all of them.
        hits: How many hits of each map, the strongest first.
        size: Side of the square as a share of the receptive field's shorter side, above 0 and below 1.
        stride: Pixels from one square to the next; None for 2, or more where that gives over 8 places along a side.
        fill: What the covered pixels show.
        seed: Random seed for every draw.
        rivals: Further rule sets to compare, as `parse_rules` reads them.
        low_pass: Side of the box that projections are averaged over before their energy is taken, in strides of the
            layer; 0 for none. It removes the checkerboards that strided convolutions leave; figures can do the same.
    """

    maps: int | None = 16
    hits: int = 9
    size: float = 0.4
    stride: int | None = None
    fill: Fill = "mean"
    seed: int = 0
    rivals: tuple[str, ...] = ()
    low_pass: float = 0.0

    def __post_init__(self) -> None:
        """Check the values."""
        check_fills((self.fill,))
        check_at_least(1, maps=self.maps, hits=self.hits, stride=self.stride)
        check_at_least(0, seed=self.seed)
        if self.low_pass < 0:
            raise BadInputError(f"low_pass must not be negative, got {self.low_pass}")
        if not 0 < self.size < 1:
            raise BadInputError(
                f"the size of the square is a share between 0 and 1, such as 0.4, got {self.size}"
            )


@dataclass(frozen=True, eq=False, repr=False)
class Foretelling(HitResult):
    """How well projections tell where covering an image makes an activation fall.

    Attributes:
        config: What was covered.
        methods: What foretells: the rule sets, `gradient x input` (its positive part), `centre` (being near the unit).
        layers: The layers.
        rules: For each layer the atlas's own rule set, one of the methods.
        layer_index: (n,) the layer of each of n hits, as a position in layers.
        channels: (n,) their feature maps.
        ranks: (n,) their ranks among the map's hits.
        n_squares: (n,) how many squares covered each.
        correlations: (n, methods) Spearman's correlation, over the squares, between what a method sees under a square
            and the share of the activation that is lost when it is covered; NaN where one does not vary, or a rule set
            does not cover all operators.
        partial: (n, methods) the same given the distance of the square's middle from the unit; NaN for `centre`.
    """

    study: ClassVar[str] = "foretelling"

    config: ForetellingConfig
    n_squares: NDArray[np.int64]
    correlations: NDArray[np.float64]
    partial: NDArray[np.float64]

    def map_values(self, layer: str) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        """Return the channels of a layer, and (maps, methods) their correlations and partial ones, over their hits."""
        channels = np.unique(self.channels[self.hits_of(layer)])
        return channels, self.by_map(layer, self.correlations), self.by_map(layer, self.partial)

    def interval(self, layer: str, method: str, kind: str = "partial") -> Interval:
        """Return the mean over a layer's maps of a method's correlation, `plain` or `partial`, with its interval."""
        _, correlations, partial = self.map_values(layer)
        values = partial if kind == "partial" else correlations
        return mean_interval(values[:, self.methods.index(method)])

    def summary(self) -> dict[str, Any]:
        """Return by layer the mean correlations over maps, plain and partial, with 95 % intervals and p."""
        return {layer: self._layer_summary(layer) for layer in self.layers}

    def _layer_summary(self, layer: str) -> dict[str, Any]:
        channels, correlations, partial = self.map_values(layer)
        found: dict[str, Any] = {"n_maps": len(channels), "n_hits": int(self.hits_of(layer).sum())}
        for name, values in (("plain", correlations), ("partial", partial)):
            columns = zip(self.methods, values.T, strict=True)
            found[name] = {method: _with_interval(column, self.config.seed) for method, column in columns}
        return found

    def keep(self, path: Path | str) -> None:
        """Store the findings in the atlas, whose figures show them from then on.

        Raises:
            UnknownLayerError: The atlas has no such layer.
            StorageError: The atlas cannot be written.
        """
        for layer in self.layers:
            channels, correlations, partial = self.map_values(layer)
            whole = self._foretold(layer, correlations, partial)
            mine = self.hits_of(layer)
            maps = {}
            for channel in channels.tolist():
                own = mine & (self.channels == channel)
                maps[channel] = self._foretold(layer, self.correlations[own], self.partial[own])
            keep_evidence(Path(path), layer, whole, maps, self.of(layer).to_bytes())

    def _foretold(
        self, layer: str, correlations: NDArray[np.float64], partial: NDArray[np.float64]
    ) -> Foretold:
        """Return what is kept of samples (n, methods): maps of the layer, or hits of a map."""
        own = self.own_rules(layer)
        order = [own, *(name for name in self.methods if name != own)]
        means = [
            {name: plain(float(nanmean(values[:, self.methods.index(name)]))) for name in order}
            for values in (correlations, partial)
        ]
        found = mean_interval(partial[:, self.methods.index(own)])
        ends = None if found.low is None or found.high is None else (found.low, found.high)
        return Foretold(means[0], means[1], ends, len(partial))


def _with_interval(samples: NDArray[np.float64], seed: int) -> dict[str, float | None]:
    found = mean_interval(samples)
    return {"mean": found.mean, "low": found.low, "high": found.high, "p": sign_flip_p(samples, seed)}
