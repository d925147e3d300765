"""What the sanity checks take and find: their configuration and their result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from backlight.errors import BadInputError
from backlight.projection.controls import SWITCHES
from backlight.studies.checks import check_at_least
from backlight.studies.intervals import mean_interval
from backlight.studies.results import Result
from backlight.studies.sanity.similarity import METRICS


@dataclass(frozen=True)
class SanityConfig:
    """How many hits are studied.

    Attributes:
        maps: How many feature maps of the layer, drawn at random from those projected.
        hits: How many hits of each, the strongest first; at least two hits in all.
        seed: Random seed for every draw.
    """

    maps: int = 8
    hits: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the values."""
        check_at_least(1, maps=self.maps, hits=self.hits)
        check_at_least(0, seed=self.seed)
        if self.maps * self.hits < 2:
            raise BadInputError("at least two hits are needed, got 1 map of 1 hit; take more")


@dataclass(frozen=True, eq=False, repr=False)
class Sanity(Result):
    """How similar projections stay when weights or switches are replaced.

    Attributes:
        config: How many hits were studied.
        layer: The layer.
        rules: The rule sets: those of the three that cover all operators below the layer.
        weights: The layers with weights, from the pixels up.
        top_down: (rules, weights, hits, metrics) similarity to the trained network's projection when the weights of
            this layer and of all above it are random.
        one_by_one: The same when the weights of this layer alone are random.
        switches: (rules, kinds, hits, metrics) the same when the switches are replaced; kinds and metrics are those of
            `SWITCHES` and `METRICS`. NaN where a projection is zero or there is no max pool.
    """

    study: ClassVar[str] = "sanity"

    config: SanityConfig
    layer: str
    rules: tuple[str, ...]
    weights: tuple[str, ...]
    top_down: NDArray[np.float64]
    one_by_one: NDArray[np.float64]
    switches: NDArray[np.float64]

    def summary(self) -> dict[str, Any]:
        """Return the mean similarities by rule set: all weights random, the topmost alone, each kind of switches."""
        # top_down[i] is (weights, hits, metrics): at the first place the weights of all layers are random, at the last
        # those of the topmost alone.
        return {
            name: {
                "all weights random": _means(self.top_down[i, 0]),
                "top weights random": _means(self.top_down[i, -1]),
                **{f"switches: {kind}": _means(self.switches[i, k]) for k, kind in enumerate(SWITCHES)},
            }
            for i, name in enumerate(self.rules)
        }


def _means(values: NDArray[np.float64]) -> dict[str, float | None]:
    """Return by metric the mean over hits of similarities (hits, metrics)."""
    return {name: mean_interval(values[:, i]).mean for i, name in enumerate(METRICS)}
