"""What a correspondence study takes and finds: its configuration and its result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from backlight.studies.checks import check_at_least
from backlight.studies.correspondence.masking import (
    CONTROL_MASKS,
    ENTRIES,
    ControlMask,
    Entries,
)
from backlight.studies.covering import Fill, check_fills
from backlight.studies.numbers import mean_and_spread, nanmean, plain
from backlight.studies.results import Result


@dataclass(frozen=True)
class CorrespondenceConfig:
    """How masks are made.

    Attributes:
        n_random: Draws of each control for each part; the smallest possible p-value is 1 / (1 + n_random).
        fill: What the masked pixels show.
        seed: Random seed for every draw.
    """

    n_random: int = 99
    fill: Fill = "mean"
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the values."""
        check_fills([self.fill])
        check_at_least(1, n_random=self.n_random)
        check_at_least(0, seed=self.seed)


@dataclass(frozen=True, eq=False, repr=False)
class Correspondence(Result):
    """Delta of every part and of its controls: small where masks change a layer in the same way in all images.

    Attributes:
        config: How masks were made.
        network: The network's name.
        layers: The layers.
        parts: The parts.
        images: The images' names.
        pairs: (pairs, 2) the images i < j of each pair.
        differs: (entries, layers, parts, pairs) share of the entries whose signs differ, over all and over the
            changed ones (`ENTRIES`); NaN where the part is not in both images, or no entry has changed.
        control_deltas: (controls, entries, layers, parts, draws) means over pairs; NaN where there is no such draw.
        control_spreads: The standard deviations over pairs, in the shape of control_deltas.
        boxes: (parts, images, 4) top, left, bottom, right in what the network sees; -1 where a part is missing.
        pictures: (images, h, w, 3) uint8, what the network sees.
    """

    study: ClassVar[str] = "correspondence"

    config: CorrespondenceConfig
    network: str
    layers: tuple[str, ...]
    parts: tuple[str, ...]
    images: tuple[str, ...]
    pairs: NDArray[np.int64]
    differs: NDArray[np.float64]
    control_deltas: NDArray[np.float64]
    control_spreads: NDArray[np.float64]
    boxes: NDArray[np.int64]
    pictures: NDArray[np.uint8]

    def pair_values(self, layer: str, part: str, entries: Entries = "all") -> NDArray[np.float64]:
        """Return the share of differing signs for each pair of images that has the part."""
        values: NDArray[np.float64] = self.differs[ENTRIES.index(entries), *self._at(layer, part)]
        return values[~np.isnan(values)]

    def delta(self, layer: str, part: str, entries: Entries = "all") -> tuple[float, float]:
        """Return Delta and its standard deviation over pairs; NaN where no pair has a value."""
        mean, spread = mean_and_spread(self.pair_values(layer, part, entries))
        return float(mean), float(spread)

    def draws(
        self, layer: str, part: str, entries: Entries = "all", control: ControlMask = "random"
    ) -> NDArray[np.float64]:
        """Return Delta of each draw of a control."""
        at = CONTROL_MASKS.index(control), ENTRIES.index(entries), *self._at(layer, part)
        deltas: NDArray[np.float64] = self.control_deltas[at]
        return deltas[~np.isnan(deltas)]

    def control(
        self, layer: str, part: str, entries: Entries = "all", control: ControlMask = "random"
    ) -> tuple[float, float]:
        """Return a control's Delta and its standard deviation over pairs, each averaged over the draws."""
        at = CONTROL_MASKS.index(control), ENTRIES.index(entries), *self._at(layer, part)
        return float(nanmean(self.control_deltas[at], -1)), float(nanmean(self.control_spreads[at]))

    def p_value(
        self, layer: str, part: str, entries: Entries = "all", control: ControlMask = "random"
    ) -> float | None:
        """Return how likely a control's Delta is as small as the part's: (1 + #{draws <= part}) / (1 + #draws).

        If the part were no different from the control, its Delta would be one more draw and every rank equally likely:
        the p-value is then uniform. It is small where the part corresponds. One-sided; a draw equal to the part counts
        against it. Not corrected for the number of parts and layers. None where there is nothing to compare.
        """
        own, draws = self.delta(layer, part, entries)[0], self.draws(layer, part, entries, control)
        if np.isnan(own) or not len(draws):
            return None
        # up to rounding, a draw of the same Delta is a tie
        return float((1 + np.sum(draws <= own + 1e-12)) / (1 + len(draws)))

    def summary(self) -> dict[str, Any]:
        """Return by layer and part Delta, its spread, the controls and their p-values, over all and changed entries."""
        return {
            layer: {
                part: {entries: self._summary(layer, part, entries) for entries in ENTRIES}
                for part in self.parts
            }
            for layer in self.layers
        }

    def _at(self, layer: str, part: str) -> tuple[int, int]:
        return self.layers.index(layer), self.parts.index(part)

    def _summary(self, layer: str, part: str, entries: Entries) -> dict[str, Any]:
        delta, spread = self.delta(layer, part, entries)
        found: dict[str, Any] = {
            "delta": plain(delta),
            "spread": plain(spread),
            "n_pairs": len(self.pair_values(layer, part, entries)),
        }
        for control in CONTROL_MASKS:
            mean, own = self.control(layer, part, entries, control)
            found[control] = {
                "delta": plain(mean),
                "spread": plain(own),
                "p_value": self.p_value(layer, part, entries, control),
                "n_draws": len(self.draws(layer, part, entries, control)),
            }
        return found
