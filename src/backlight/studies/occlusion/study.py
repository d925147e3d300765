"""Occlusion: a square slid over an image, and what a feature map and the classifier make of each position.

*Source*: Zeiler & Fergus (2013), section 4.2 and Fig. 7. *Differs*: the paper names neither the size nor the stride of
its grey square; here they are the caller's, and what covers is the image's mean colour, its blur, or noise.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor

from backlight.atlas import Atlas
from backlight.errors import BadInputError
from backlight.geometry import Box
from backlight.network import Images, Network
from backlight.network.class_output import Wanted
from backlight.operators.ruleset import DECONVNET, RuleSet
from backlight.projection import project
from backlight.scan import Progress
from backlight.studies.covering import Fill, check_fills, filled, sliding_squares
from backlight.studies.occlusion.sweeps import Sweep
from backlight.studies.occlusion.watched import Watched, check_watched, choose_watched
from backlight.studies.results import Result
from backlight.studies.shown import Others, inputs_of, others_of_atlas, others_of_images

if TYPE_CHECKING:
    from backlight.render.plots import Plot

_EQUAL = 5
"""Decimal places to which falls are compared: what is smaller is the rounding of the arithmetic."""


@dataclass(frozen=True)
class Config:
    """What is slid over the image, and what is watched.

    Attributes:
        size: Side of the square in pixels of the network's input.
        stride: Pixels from one position to the next.
        fill: What a covered pixel shows.
        channel: The feature map; None takes the one with the strongest single activation in the uncovered image.
        row: Row of the unit; None takes the map's strongest in the uncovered image.
        col: Column of the unit.
        class_index: The true class; None takes the most probable one of the uncovered image.
        class_names: A name for each class; empty for none.
        output: The output of the model that gives the class, by name or place; None follows the rule of
            `Network.class_output`.
        rules: How the unit is projected; None takes the atlas's, or the deconvnet where there is no atlas.
        n_others: Hits of an atlas that are shown beside the image's own.
        batch_size: Covered copies run at once; None chooses by the device. The results agree up to rounding.
        seed: Of the noise.
    """

    size: int = 32
    stride: int = 8
    fill: Fill = "mean"
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
        """Refuse what cannot be done."""
        check_fills([self.fill])
        if self.size < 1 or self.stride < 1:
            came = f"{self.size} and {self.stride}"
            raise BadInputError(f"size and stride of the square are at least 1 pixel, but came {came}")
        if (self.row is None) != (self.col is None) or (self.row is not None and self.channel is None):
            raise BadInputError("a unit is given by channel, row and col together, or a map by channel alone")
        if self.n_others < 0 or (self.batch_size is not None and self.batch_size < 1):
            came = f"{self.n_others} and {self.batch_size}"
            raise BadInputError(f"n_others is at least 0 and batch_size at least 1, but came {came}")


@dataclass(frozen=True, eq=False)
class Occlusion(Result):
    """What covering each place of an image does.

    Attributes:
        config: What was slid, and what was watched.
        model: The network's name.
        rules: How the unit was projected.
        watched: The feature map, the unit and the class, and their values in the uncovered image.
        other_names: What the k other images are called.
        rows: (r,) first rows of the squares.
        cols: (s,) first columns of the squares.
        map_sums: (r, s) the sum of the feature map with each square covered.
        unit_values: (r, s) the unit's activation.
        probabilities: (r, s) the class's probability; (0, 0) where the network does not classify.
        labels: (r, s) the most probable class; (0, 0) where the network does not classify.
        image: (h, w, 3) the image as the network sees it, uint8.
        projection: (h, w, c) the unit's projection, in the scale of the network's input.
        other_boxes: (k, 4) what the map's unit sees in each other image: top, left, bottom, right.
        other_patches: (k, bh, bw, 3) uint8 the other images there, black outside; (0,) for none.
        other_projections: (k, bh, bw, c) the projections there; (0,) for none.
    """

    config: Config
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

    @property
    def others(self) -> Others:
        """The feature map's strongest units in other images."""
        return Others(self.other_names, self.other_boxes, self.other_patches, self.other_projections)

    def square(self, values: NDArray[np.floating]) -> Box:
        """Return the square at which values (r, s) are smallest; of equal ones the first in raster order."""
        row, col = np.unravel_index(int(values.argmin()), values.shape)
        top, left, size = int(self.rows[row]), int(self.cols[col]), self.config.size
        return Box(top, left, top + size, left + size)

    def class_name(self, index: int) -> str:
        """Return the name of a class; its number where it has none."""
        return self.config.class_names[index] if self.config.class_names else f"class {index}"

    def shown(self) -> NDArray[np.float64]:
        """Return (r, s) how much of the projection lies in each square: the sum of its magnitudes."""
        magnitude, size = np.abs(self.projection).sum(2, dtype=np.float64), self.config.size
        return np.array(
            [[magnitude[r : r + size, c : c + size].sum() for c in self.cols] for r in self.rows], np.float64
        )

    def agreement(self, values: NDArray[np.floating], uncovered: float) -> float | None:
        """Return Spearman's correlation of how far values (r, s) fall with how much of the projection is covered.

        *Convention*: falls that differ by less than 1e-5 of the largest value count as equal. None where nothing
        falls, or the projection lies alike in all squares.
        """
        from scipy.stats import spearmanr  # slow to import

        largest = max(float(np.abs(values).max()), abs(uncovered))
        shown = self.shown()
        if largest == 0 or np.ptp(shown) == 0:
            return None
        falls = np.round((uncovered - values) / largest, _EQUAL)
        return float(spearmanr(falls.ravel(), shown.ravel()).statistic) if np.ptp(falls) else None

    def summary(self) -> dict[str, Any]:
        """Return where the map, the unit and the class's probability fall most and how far, and the labels seen.

        *Convention*: a fall is the share that is lost: 1 where nothing is left; None where there was nothing to lose.
        """
        own = self.watched
        return {
            "layer": own.unit.layer,
            "channel": own.unit.channel,
            "unit": [own.unit.row, own.unit.col],
            "rules": self.rules.name,
            "n_positions": self.map_sums.size,
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

    def plot(self) -> Plot:
        """Return the figure in the paper's layout."""
        from backlight.studies.occlusion.plot import plot_occlusion

        return plot_occlusion(self)


def run(
    net: Network,
    image: Images,
    layer: str,
    config: Config | None = None,
    others: Atlas | Images | None = None,
    progress: Progress | None = None,
) -> Occlusion:
    """Return what a feature map and the classifier make of an image with each place covered in turn.

    Args:
        net: The captured network.
        image: One image, as `Network.prepare` takes it.
        layer: The layer's name; it has rows and columns.
        config: What is slid, and what is watched.
        others: Where the map's other projections come from: a finished atlas of this network in which the map was
            projected, or further images, of each of which the map's strongest unit is projected; None shows none.
        progress: Called with `occlusion`, the number of positions done and the number in all.

    Raises:
        BadInputError: Not one image, a square that does not fit, a layer without rows and columns, a channel, unit,
            class or output that the network does not have, names that are not one a class, an atlas that does not fit.
        UnsupportedOperatorError: No rule for an operator between the unit and the pixels.
        ActivationError: Activations that are not finite.

    *Convention*: the squares are those of `sliding_squares`, so that every pixel is covered where the stride is no
    larger than the square. Of equally strong maps the first is taken.

    Example:
        >>> import torch, backlight
        >>> body = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
        >>> net = backlight.capture(body, (3, 16, 16))
        >>> run(net, torch.rand(3, 16, 16), "1", Config(size=4, stride=4)).map_sums.shape
        (4, 4)
    """
    config = config or Config()
    found = net.layer(layer)
    check_watched(found, config)
    inputs, picture = _one_image(net, image)
    height, width = net.input_shape[1:]
    rows, cols = sliding_squares(height, width, config.size, config.stride)
    chosen = net.class_output(config.output, len(config.class_names))
    sweep = Sweep(net, found, inputs, chosen.output, config.batch_size)
    watched = choose_watched(net, found, sweep, config, chosen)
    rules = _rules(others, found.name, config)
    beside = _others(net, others, watched, rules, config.n_others)
    signal = project(net, inputs, [watched.unit], rules)[0].permute(1, 2, 0).float().cpu().numpy()
    fill = filled(inputs, config.fill, np.random.default_rng(config.seed))
    boxes = [Box(r, c, r + config.size, c + config.size) for r in rows for c in cols]
    answers = sweep(watched.unit, watched.class_index, fill, boxes, progress)
    return Occlusion(
        config=config,
        model=net.name,
        rules=rules,
        watched=watched,
        rows=np.array(rows, np.int64),
        cols=np.array(cols, np.int64),
        image=picture,
        projection=signal,
        **{k: v.reshape((len(rows), len(cols)) if v.size else (0, 0)) for k, v in vars(answers).items()},
        **{f"other_{k}": v for k, v in vars(beside).items()},
    )


def _one_image(net: Network, image: Images) -> tuple[Tensor, UInt8[np.ndarray, "h w 3"]]:
    inputs, pictures = inputs_of(net, image)
    if len(inputs) != 1:
        raise BadInputError(
            f"the square is slid over one image, but came {len(inputs)}; study them one after the other"
        )
    return inputs[0], pictures[0]


def _rules(others: Atlas | Images | None, layer: str, config: Config) -> RuleSet:
    if not isinstance(others, Atlas):
        return config.rules or DECONVNET
    rules = others[layer].rules
    if config.rules not in (None, rules):
        raise BadInputError(
            f"{others.path.name} holds {rules.name} projections of layer {layer!r}; leave the rules out, "
            f"or build it with {config.rules.name}"
        )
    return rules


def _others(
    net: Network, others: Atlas | Images | None, watched: Watched, rules: RuleSet, count: int
) -> Others:
    if others is None:
        return Others.of([], [])
    if isinstance(others, Atlas):
        return others_of_atlas(others, net, watched.unit, watched.unit_value, count)
    return others_of_images(net, others, watched.unit, rules)
