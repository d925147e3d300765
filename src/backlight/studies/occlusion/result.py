"""What an occlusion study takes and finds: its configuration and its result."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from backlight.errors import BadInputError
from backlight.geometry import Box
from backlight.network.class_output import Wanted
from backlight.operators.ruleset import RuleSet
from backlight.projection import Unit
from backlight.studies.checks import check_at_least
from backlight.studies.classes import class_name
from backlight.studies.covering import Sides, along_both
from backlight.studies.occlusion.covers import Shows, check_shows
from backlight.studies.results import Result
from backlight.studies.shown import Others

_EQUAL = 5
"""Decimal places to which falls are compared: smaller differences are rounding errors."""
_FEWEST = 3
"""The fewest squares of which a rank correlation says anything: that of two is always 1 or -1."""


@dataclass(frozen=True)
class OcclusionConfig:
    """What slides over the image, and what is watched.

    Attributes:
        size: Side of the square in pixels of the network's input, or (h, w) of a window.
        stride: Pixels from one position to the next, or (down, right).
        fill: What a covered pixel shows: a fill made of the image (`Fill`), a colour as Pillow spells it ("#808080"),
            a number of the network's input or one for each channel (Captum's baselines). `run` takes an image, too.
        channel: The feature map, or the fully connected unit; None takes the one with the strongest single activation
            in the uncovered image, of those projected in the atlas where there is one.
        row: Row of the unit; None takes the map's strongest in the uncovered image.
        col: Column of the unit.
        class_index: The true class; None takes the most probable one of the uncovered image.
        class_names: A name for each class; empty for none.
        output: The output of the model that gives the class, by name or place; None follows the rule of
            `Network.class_output`.
        rules: The rule set that projects the unit; None takes the atlas's, or the deconvnet without an atlas.
        n_others: How many hits of an atlas are shown beside the image's own projection.
        batch_size: How many covered copies run at once; None chooses by the device. The results agree up to rounding.
        seed: Random seed for the noise.
    """

    size: Sides = 32
    stride: Sides = 8
    fill: Shows = "mean"
    channel: int | None = None
    row: int | None = None
    col: int | None = None
    class_index: int | None = None
    class_names: tuple[str, ...] = ()
    rules: RuleSet | None = None
    n_others: int = 3
    batch_size: int | None = None
    seed: int = 0
    output: Wanted = None

    def __post_init__(self) -> None:
        """Check the values."""
        check_shows(self.fill)
        window, steps = min(self.window), min(along_both(self.stride))
        check_at_least(1, size=window, stride=steps, batch_size=self.batch_size)
        check_at_least(0, n_others=self.n_others)
        if (self.row is None) != (self.col is None) or (self.row is not None and self.channel is None):
            raise BadInputError("a unit is given by channel, row and col together, a map by channel alone")

    @property
    def window(self) -> tuple[int, int]:
        """Height and width of what slides over the image."""
        return along_both(self.size)


@dataclass(frozen=True)
class Watched:
    """What is watched, and its values in the uncovered image.

    Attributes:
        unit: The unit that is projected; its feature map is summed.
        box: What the unit sees; may reach outside the image.
        map_sum: The sum of the feature map's positive activations; of a fully connected unit its activation.
        unit_value: The unit's activation.
        class_index: The class whose probability is followed; None, like the next two, where the network does not
            classify.
        probability: Its probability.
        label: The most probable class.
        output: The name of the output that the class is read from; None where the network has one output only.
        stronger_channel: The image's strongest feature map, where the atlas does not have it and the strongest of
            those that it has is watched instead; else None.
    """

    unit: Unit
    box: Box
    map_sum: float
    unit_value: float
    class_index: int | None
    probability: float | None
    label: int | None
    output: str | None = None
    stronger_channel: int | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Occlusion(Result):
    """What covering each place of an image changes.

    Attributes:
        config: What slid over the image, and what was watched.
        model: The network's name.
        rules: The rule set that projected the unit.
        watched: The feature map, the unit and the class, and their values in the uncovered image.
        other_names: Names of the k other images.
        rows: (r,) top rows of the squares.
        cols: (s,) left columns of the squares.
        map_sums: (r, s) the sum of the feature map's positive activations with each square covered.
        unit_values: (r, s) the unit's activation.
        probabilities: (r, s) the class's probability; (0, 0) where the network does not classify.
        labels: (r, s) the most probable class; (0, 0) where the network does not classify.
        image: (h, w, 3) the image as the network sees it, uint8.
        projection: (h, w, c) the unit's projection, in the scale of the network's input.
        other_boxes: (k, 4) what the map's unit sees in each other image: top, left, bottom, right.
        other_patches: (k, bh, bw, 3) uint8, the other images there, black outside; (0,) for none.
        other_projections: (k, bh, bw, c), the projections there; (0,) for none.
        cover: (h, w, 3) uint8, what covered pixels show, as the image is drawn; (0,) where it is made of the image.
    """

    study: ClassVar[str] = "occlusion"

    config: OcclusionConfig
    model: str
    rules: RuleSet
    watched: Watched
    other_names: tuple[str, ...]
    rows: NDArray[np.int64]
    cols: NDArray[np.int64]
    map_sums: NDArray[np.float64]
    unit_values: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    labels: NDArray[np.int64]
    image: NDArray[np.uint8]
    projection: NDArray[np.float32]
    other_boxes: NDArray[np.int64]
    other_patches: NDArray[np.uint8]
    other_projections: NDArray[np.float32]
    cover: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))

    def _facts(self) -> list[str]:
        return [self.model, str(self.watched.unit), f"{self.map_sums.size} positions"]

    @property
    def others(self) -> Others:
        """The feature map's strongest units in other images."""
        return Others(self.other_names, self.other_boxes, self.other_patches, self.other_projections)

    def square(self, values: NDArray[np.floating]) -> Box:
        """Return the square at which values (r, s) are smallest; of equal ones the first in raster order."""
        row, col = np.unravel_index(int(values.argmin()), values.shape)
        top, left, (height, width) = int(self.rows[row]), int(self.cols[col]), self.config.window
        return Box(top, left, top + height, left + width)

    def by_pixel(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return (h, w) the mean of values (r, s) over the squares that cover each pixel; NaN where none does.

        Of falls it is Captum's attribution: `found.by_pixel(found.watched.unit_value - found.unit_values)`; of
        probabilities MONAI's sensitivity.
        """
        shape, (height, width) = self.image.shape[:2], self.config.window
        total, count = np.zeros(shape), np.zeros(shape)
        for i, top in enumerate(self.rows.tolist()):
            for j, left in enumerate(self.cols.tolist()):
                total[top : top + height, left : left + width] += values[i, j]
                count[top : top + height, left : left + width] += 1
        mean: NDArray[np.float64] = np.divide(total, count, out=np.full(shape, np.nan), where=count > 0)
        return mean

    def class_name(self, index: int) -> str:
        """Return the name of a class; its number where it has none."""
        return class_name(index, self.config.class_names)

    def shown(self) -> NDArray[np.float64]:
        """Return (r, s) how much of the projection lies in each square: the sum of its magnitudes."""
        # the sum over channels (h, w), then over each square
        magnitude, (height, width) = np.abs(self.projection).sum(2, dtype=np.float64), self.config.window
        return np.array(
            [[magnitude[r : r + height, c : c + width].sum() for c in self.cols] for r in self.rows],
            np.float64,
        )

    def in_field(self) -> NDArray[np.bool_]:
        """Return (r, s) whether each square touches what the unit sees."""
        box, (height, width) = self.watched.box, self.config.window
        # half-open intervals overlap where each begins before the other ends
        rows = (self.rows < box.bottom) & (self.rows + height > box.top)
        cols = (self.cols < box.right) & (self.cols + width > box.left)
        touching: NDArray[np.bool_] = rows[:, None] & cols
        return touching

    def agreement(self, values: NDArray[np.floating], uncovered: float) -> float | None:
        """Return Spearman's correlation of how far values (r, s) fall with how much of the projection is covered.

        *Convention*: only squares that touch what the unit sees count. The others hold nothing of the projection, and
        a map also falls there, by its other units. Falls that differ by less than 1e-5 of the largest value count as
        equal. None where nothing falls, all squares hold equally much of the projection, or fewer than three touch it.
        """
        from scipy.stats import spearmanr  # slow to import

        near = self.in_field()
        values, shown = values[near], self.shown()[near]  # (squares,) each
        if near.sum() < _FEWEST or np.ptp(shown) == 0:
            return None
        largest = max(float(np.abs(values).max()), abs(uncovered))
        falls = np.round((uncovered - values) / (largest or 1), _EQUAL)
        return float(spearmanr(falls, shown).statistic) if np.ptp(falls) else None

    def summary(self) -> dict[str, Any]:
        """Return where the map, the unit and the class's probability fall most and how far, and the labels found.

        `n_in_field` of the `n_positions` squares touch what the unit sees; agreement with the projection is over these.

        *Convention*: a fall is the share that is lost: 1 where nothing is left, None where there was nothing to lose.
        """
        own = self.watched
        return {
            "layer": own.unit.layer,
            "channel": own.unit.channel,
            "stronger_channel": own.stronger_channel,
            "unit": [own.unit.row, own.unit.col],
            "rules": self.rules.name,
            "n_positions": self.map_sums.size,
            "n_in_field": int(self.in_field().sum()),
            "map_sum": self._fall(self.map_sums, own.map_sum),
            "unit_value": self._fall(self.unit_values, own.unit_value),
            "class": self._class_summary(),
        }

    def _fall(self, values: NDArray[np.float64], uncovered: float) -> dict[str, Any]:
        square = self.square(values)
        return {
            "uncovered": uncovered,
            "lowest": float(values.min()),
            "fall": 1 - float(values.min()) / uncovered if uncovered > 0 else None,
            "falls_most_at": [square.top, square.left, square.bottom, square.right],
            "agreement_with_projection": self.agreement(values, uncovered),
        }

    def _class_summary(self) -> dict[str, Any] | None:
        index, probability, label = self.watched.class_index, self.watched.probability, self.watched.label
        if index is None or probability is None or label is None:
            return None
        counts = Counter(self.labels.ravel().tolist()).most_common()
        return {
            "index": index,
            "name": self.class_name(index),
            "is_given": self.config.class_index is not None,
            "output": self.watched.output,
            "probability": self._fall(self.probabilities, probability),
            "label": self.class_name(label),
            "labels": [{"index": i, "name": self.class_name(i), "positions": n} for i, n in counts],
        }
