"""Correspondence: the same part masked in several images, does it change a layer in the same way?

*Source*: Zeiler & Fergus (2013), section 4.3 and Table 1. *Differs*: the printed minus sign between the signs is read
as "the share of entries that differ"; the mean over pairs is given instead of the sum, as Table 1 must have it; also
the same over changed entries only, p-values, and a second control.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from backlight.errors import BadInputError
from backlight.network import Network
from backlight.network.layers import Layers, layer_names
from backlight.scan import Progress
from backlight.studies.correspondence.masking import (
    CONTROLS,
    MEASURES,
    Control,
    Measure,
    Scene,
    SignDifferences,
)
from backlight.studies.correspondence.parts import MarkedImage, read_parts
from backlight.studies.covering import Fill, check_fills
from backlight.studies.numbers import nanmean, plain
from backlight.studies.results import Result

if TYPE_CHECKING:
    from backlight.render.plots import Plot


@dataclass(frozen=True)
class Config:
    """How masks are made.

    Attributes:
        n_random: Draws of each control for each part; the smallest possible p-value is 1 / (1 + n_random).
        fill: What the masked pixels show.
        seed: Of every draw.
    """

    n_random: int = 99
    fill: Fill = "mean"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be done."""
        check_fills([self.fill])
        if self.n_random < 1 or self.seed < 0:
            raise BadInputError(
                f"n_random must be at least 1 and the seed at least 0, but came {self.n_random} and {self.seed}"
            )


@dataclass(frozen=True, eq=False)
class Correspondence(Result):
    """Delta of every part and of its controls: small where masks change a layer alike in all images.

    Attributes:
        config: How masks were made.
        network: The network's name.
        layers: The layers.
        parts: The parts.
        images: The images' names.
        pairs: (pairs, 2) the images i < j of each pair.
        differs: (measures, layers, parts, pairs) share of the entries whose signs differ; NaN where the part is not
            in both images, or none of the entries has changed.
        control_deltas: (controls, measures, layers, parts, draws) means over pairs; NaN where there is no such draw.
        control_spreads: As control_deltas, their standard deviations over pairs.
        boxes: (parts, images, 4) top, left, bottom, right in what the network sees; -1 where a part is missing.
        pictures: (images, h, w, 3) uint8, what the network sees.
    """

    config: Config
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

    def pair_values(self, layer: str, part: str, measure: Measure = "all") -> NDArray[np.float64]:
        """Return the share of differing signs of each pair of images that has the part."""
        values: NDArray[np.float64] = self.differs[MEASURES.index(measure), *self._at(layer, part)]
        return values[~np.isnan(values)]

    def delta(self, layer: str, part: str, measure: Measure = "all") -> tuple[float, float]:
        """Return Delta and its standard deviation over pairs; NaN where no pair has a value."""
        mean, spread = _mean_and_spread(self.pair_values(layer, part, measure))
        return float(mean), float(spread)

    def draws(
        self, layer: str, part: str, measure: Measure = "all", control: Control = "random"
    ) -> NDArray[np.float64]:
        """Return Delta of each draw of a control."""
        at = CONTROLS.index(control), MEASURES.index(measure), *self._at(layer, part)
        deltas: NDArray[np.float64] = self.control_deltas[at]
        return deltas[~np.isnan(deltas)]

    def control(
        self, layer: str, part: str, measure: Measure = "all", control: Control = "random"
    ) -> tuple[float, float]:
        """Return a control's Delta and standard deviation over pairs, each the mean of its draws."""
        at = CONTROLS.index(control), MEASURES.index(measure), *self._at(layer, part)
        return float(nanmean(self.control_deltas[at], -1)), float(nanmean(self.control_spreads[at]))

    def p_value(
        self, layer: str, part: str, measure: Measure = "all", control: Control = "random"
    ) -> float | None:
        """Return how likely a control's Delta is as small as the part's: (1 + #{draws <= part}) / (1 + #draws).

        If the part were masked like the control, its Delta would be one more draw and every rank equally likely: the
        p-value is then uniform, and small where the part corresponds. One-sided; a draw equal to the part counts
        against it. It is not corrected for the number of parts and layers. None where there is nothing to compare.
        """
        own, draws = self.delta(layer, part, measure)[0], self.draws(layer, part, measure, control)
        if np.isnan(own) or not len(draws):
            return None
        return float((1 + np.sum(draws <= own + 1e-12)) / (1 + len(draws)))

    def summary(self) -> dict[str, Any]:
        """Return by layer and part Delta, its spread, the controls and their p-values, by measure."""
        return {
            layer: {
                part: {measure: self._summary(layer, part, measure) for measure in MEASURES}
                for part in self.parts
            }
            for layer in self.layers
        }

    def plot(self) -> Plot:
        """Return Delta of every part beside its controls, by layer, over the images with their boxes."""
        from backlight.studies.correspondence.plot import plot_correspondence

        return plot_correspondence(self)

    def _at(self, layer: str, part: str) -> tuple[int, int]:
        return self.layers.index(layer), self.parts.index(part)

    def _summary(self, layer: str, part: str, measure: Measure) -> dict[str, Any]:
        delta, spread = self.delta(layer, part, measure)
        found: dict[str, Any] = {
            "delta": plain(delta),
            "spread": plain(spread),
            "n_pairs": len(self.pair_values(layer, part, measure)),
        }
        for control in CONTROLS:
            mean, own = self.control(layer, part, measure, control)
            found[control] = {
                "delta": plain(mean),
                "spread": plain(own),
                "p_value": self.p_value(layer, part, measure, control),
                "n_draws": len(self.draws(layer, part, measure, control)),
            }
        return found


def run(
    net: Network,
    parts: Path | str | Sequence[MarkedImage],
    layers: Layers | None = None,
    config: Config | None = None,
    progress: Progress | None = None,
) -> Correspondence:
    """Return for each part and layer in how far masking the part changes the layer alike in all images.

    With x the layer's activations of image i as a vector, and x~ those of the image with the part masked, eps_i =
    x - x~. Delta is the mean over pairs i < j of mean(sign(eps_i) != sign(eps_j)), sign in {-1, 0, 1}. `random` masks
    boxes of the same sizes as the part's, uniformly inside each image and clear of all its parts (if possible);
    `shifted` moves the part's boxes by one shift in all images: where the boxes of the part lie at similar places, so
    do those, and what is left of the difference is what the part shows. `all` counts every entry, as the paper does,
    and so rises with the number of entries that a mask moves at all; `changed` leaves out those that it does not move.

    Args:
        net: A network with preprocessing.
        parts: A JSON file (`backlight.studies.correspondence.parts.read_parts`), or the images with their boxes.
        layers: Names of layers; None takes `default_layers`.
        config: How masks are made.
        progress: Called with `correspondence`, the number of masks done and the number in all.

    Raises:
        BadInputError: A file or box that cannot be used, fewer than two images, a network without preprocessing.
        ImageError: An image that cannot be read.
        UnknownLayerError: The network has no such layer.

    *Convention*: the spread is the standard deviation over pairs (divided by their number, not one less). Changes
    within the rounding of floats have the sign 0.

    Example:
        >>> import backlight, torch
        >>> from PIL import Image
        >>> as_is = backlight.Preprocessing(None, (16, 16), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
        >>> box = backlight.geometry.Box(4, 4, 8, 8)
        >>> marked = [MarkedImage(name, Image.new("RGB", (16, 16), "red"), {"nose": box}) for name in "ab"]
        >>> run(backlight.capture(model, (3, 16, 16), as_is), marked, config=Config(n_random=4)).delta("1", "nose")
        (0.0, 0.0)
    """
    config = config or Config()
    scene = Scene(
        net, read_parts(parts) if isinstance(parts, str | Path) else list(parts), config.fill, config.seed
    )
    chosen = [net.layer(name) for name in layer_names(layers or default_layers(net))]
    masks = [mask for part in range(len(scene.parts)) for mask in scene.masks(part, config.n_random)]
    pairs = list(combinations(range(len(scene.boxes)), 2))
    shape = len(MEASURES), len(chosen), len(scene.parts)
    differs = np.full((*shape, len(pairs)), np.nan)
    deltas, spreads = (np.full((len(CONTROLS), *shape, config.n_random), np.nan) for _ in range(2))
    for mask, found in SignDifferences(net, chosen, scene)(masks, progress):
        if mask.control is None:
            differs[:, :, mask.part, [pairs.index(pair) for pair in combinations(mask.images, 2)]] = found
        else:
            at = CONTROLS.index(mask.control), slice(None), slice(None), mask.part, mask.draw
            deltas[at], spreads[at] = _mean_and_spread(found)
    return Correspondence(
        config=config,
        network=net.name,
        layers=tuple(layer.name for layer in chosen),
        parts=tuple(scene.parts),
        images=tuple(scene.names),
        pairs=np.array(pairs, np.int64),
        differs=differs,
        control_deltas=deltas,
        control_spreads=spreads,
        boxes=scene.box_array(),
        pictures=scene.pictures,
    )


def default_layers(net: Network) -> list[str]:
    """Return the last default layer and the one before the output; without a linear output the last three defaults.

    Where the model has several outputs, it is the one that gives the class; without such, any.

    Raises:
        BadInputError: The network has neither.

    *Source*: section 4.3, which takes layers 5 and 7.

    Example:
        >>> import backlight
        >>> from torch import nn
        >>> body = [nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 5), nn.ReLU()]
        >>> model = nn.Sequential(*body, nn.Linear(5, 2))
        >>> default_layers(backlight.capture(model, (3, 8, 8)))
        ['1', '4']
    """
    spatial = [layer.name for layer in net.default_layers]
    layers = net.leading_to(net.class_output().output)
    linear = [i for i, layer in enumerate(layers) if layer.operator == "linear" and not layer.is_spatial]
    if linear and linear[-1] > 0:
        return list(dict.fromkeys([*spatial[-1:], layers[linear[-1] - 1].name]))
    if not spatial:
        raise BadInputError(f"{net.name} has no feature maps to take by default; name layers")
    return spatial[-3:]


def _mean_and_spread(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation along the last axis of what is not NaN; NaN where nothing is."""
    mean = nanmean(values, -1)
    return mean, np.asarray(np.sqrt(nanmean((values - mean[..., None]) ** 2, -1)))
