"""What an invariance study takes and finds: its configuration and its result."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from backlight.errors import BadInputError
from backlight.network.class_output import Wanted
from backlight.studies.invariance.changes import Changes
from backlight.studies.invariance.moves import MOVE_MEASURES, MoveMeasure
from backlight.studies.invariance.transforms import TRANSFORMS, Border, Transform, check_border
from backlight.studies.numbers import nanmean
from backlight.studies.results import Result

if TYPE_CHECKING:
    from backlight.render.plots import Plot

_SHIFTS, _LARGEST_SHIFT = 12, 60 / 224


@dataclass(frozen=True)
class InvarianceConfig:
    """How images are changed.

    Attributes:
        translation: Shifts in pixels of the input, down if positive; None takes 25 from -60 to 60 at an input of 224
            rows, and in proportion at others.
        scale: Factors by which the image is magnified about its middle, above 0.
        rotation: Degrees by which it is turned about its middle, counter-clockwise.
        border: What shows where the image has moved away.
        class_names: A name for each class; empty for none.
        output: The output of the model that gives the class, by name or place; None follows the rule of
            `Network.class_output`.
        batch_size: Images run at once; None takes 16. The results agree up to rounding.

    Raises:
        BadInputError: No amounts, amounts that are not finite, a factor that is not above 0, an unknown border.

    *Convention*: amounts are taken in ascending order, each once.
    """

    translation: tuple[int, ...] | None = None
    scale: tuple[float, ...] = tuple(round(1 + 0.05 * i, 2) for i in range(17))
    rotation: tuple[float, ...] = tuple(10.0 * i for i in range(36))
    border: Border = "mean"
    class_names: tuple[str, ...] = ()
    batch_size: int | None = None
    output: Wanted = None

    def __post_init__(self) -> None:
        """Refuse what cannot be done."""
        for transform in TRANSFORMS:
            amounts = getattr(self, transform)
            if amounts is not None and not (amounts and all(map(isfinite, amounts))):
                came = ", ".join(map(str, amounts)) or "none"
                raise BadInputError(f"{transform} needs at least one amount, all finite, but came {came}")
        if min(self.scale) <= 0:
            raise BadInputError(
                f"a scale is a factor above 0 (1.2 magnifies by a fifth), but came {min(self.scale)}"
            )
        check_border(self.border)
        if self.batch_size is not None and self.batch_size < 1:
            raise BadInputError(f"batch_size is at least 1, but came {self.batch_size}")

    def amounts(self, height: int) -> dict[Transform, list[float]]:
        """Return the amounts of each transformation of an image of some rows, in ascending order.

        Raises:
            BadInputError: A shift that leaves nothing of the image.

        Example:
            >>> InvarianceConfig(translation=(4, -4, 4)).amounts(32)["translation"]
            [-4.0, 4.0]
        """
        shifts = self.translation
        if shifts is None:
            steps = range(-_SHIFTS, _SHIFTS + 1)
            shifts = tuple(round(_LARGEST_SHIFT * height * step / _SHIFTS) for step in steps)
        furthest = max(shifts, key=abs)
        if abs(furthest) >= height:
            raise BadInputError(
                f"a shift of {furthest} leaves nothing of an image of {height} rows; choose less than {height} pixels"
            )
        own = dict(zip(TRANSFORMS, (shifts, self.scale, self.rotation), strict=True))
        return {transform: sorted({float(amount) for amount in own[transform]}) for transform in TRANSFORMS}


@dataclass(frozen=True, eq=False)
class Invariance(Changes, Result):
    """How far layers and feature maps move under every amount of every transformation: the arrays of `Changes`.

    Attributes:
        config: How images were changed.
        network: The network's name.
        layers: The layers.
        shapes: (c, h, w) of each layer, or (c,).
        images: The images' names.
        class_given: Whether the true classes were given; else they are the most probable ones of the originals.
        pictures: (n, h, w, 3) uint8, what the network sees.
        output: The name of the output that the class is read from; None where the network has one output only.
    """

    config: InvarianceConfig
    network: str
    layers: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    images: tuple[str, ...]
    class_given: bool
    pictures: NDArray[np.uint8]
    output: str | None = None

    def of(self, transform: Transform) -> NDArray[np.bool_]:
        """Return which of the k amounts are of a transformation."""
        chosen: NDArray[np.bool_] = self.transforms == TRANSFORMS.index(transform)
        return chosen

    def distances(
        self, layer: str, transform: Transform, measure: MoveMeasure = "whole", raw: bool = False
    ) -> NDArray[np.float64]:
        """Return (n, amounts) how far a layer moves, relative to the original's length unless raw; NaN where that is 0.

        `whole` compares all activations, each at its place, as the paper does: the maps of a layer with rows and
        columns move with the image, and so the layer's vector changes. `peak` compares the maps' largest activations,
        wherever they are.
        """
        at = MOVE_MEASURES.index(measure), self.layers.index(layer)
        return self._scaled(self.raw_distances[at][:, self.of(transform)], at, raw)

    def other(self, layer: str, measure: MoveMeasure = "whole", raw: bool = False) -> float:
        """Return the mean distance from an image to the next; NaN for one image."""
        at = MOVE_MEASURES.index(measure), self.layers.index(layer)
        return float(nanmean(self._scaled(self.other_distances[at][:, None], at, raw).ravel()))

    def moves_of_maps(
        self, layer: str, transform: Transform, measure: MoveMeasure = "whole"
    ) -> NDArray[np.float64]:
        """Return (maps,) how far each feature map of a layer moves, relative to its size in the originals.

        The mean over the amounts that change an image, summed over images, is divided by the sum of the map's sizes
        (its length as a vector, the magnitude of its peak): an image counts by how large the map is in it. NaN where
        the map is dead in all originals, no larger than 1e-6 of the layer's largest. Small is invariant, which is not
        selective: a map that is the same for every image is the most invariant of all; `moves_to_others` tells.
        """
        found: NDArray[np.float64] = self.map_moves[TRANSFORMS.index(transform), MOVE_MEASURES.index(measure)]
        return self._split(found, layer)

    def moves_to_others(self, layer: str, measure: MoveMeasure = "whole") -> NDArray[np.float64]:
        """Return (maps,) how far each feature map of a layer moves from an image to the next; NaN for one image."""
        return self._split(self.other_map_moves[MOVE_MEASURES.index(measure)], layer)

    def summary(self) -> dict[str, Any]:
        """Return by transformation and layer how far it moves, and its five most and least invariant feature maps."""
        from backlight.studies.invariance.summary import summarise

        return summarise(self)

    def class_name(self, image: int) -> str:
        """Return the name of the class that is followed in an image, by the image's place; its number without one."""
        index, names = int(self.classes[image]), self.config.class_names
        return names[index] if names else f"class {index}"

    def plot(self, raw: bool = False, measure: MoveMeasure = "whole") -> Plot:
        """Return the figure in the paper's layout, of relative distances unless raw."""
        from backlight.studies.invariance.plot import plot_invariance

        return plot_invariance(self, raw, measure)

    def _scaled(self, distances: NDArray[np.float64], at: tuple[int, int], raw: bool) -> NDArray[np.float64]:
        """Return distances (n, amounts) by a measure of a layer, divided by the originals' lengths unless raw."""
        lengths = self.lengths[at][:, None]
        return distances if raw else np.divide(distances, np.where(lengths > 0, lengths, np.nan))

    def _split(self, maps: NDArray[np.float64], layer: str) -> NDArray[np.float64]:
        """Return of values (m,) those of a layer's feature maps."""
        ends = np.cumsum(self.map_counts)
        at = self.layers.index(layer)
        return maps[ends[at] - self.map_counts[at] : ends[at]]
