"""What an invariance study takes and finds: its configuration and its result."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from backlight.errors import BadInputError
from backlight.network.class_output import Wanted
from backlight.studies.checks import check_at_least
from backlight.studies.classes import class_name
from backlight.studies.invariance.moves import MOVE_MEASURES, MoveMeasure
from backlight.studies.invariance.summary import curve_summary, maps_summary, probability_summary
from backlight.studies.invariance.transforms import (
    TRANSFORMS,
    Border,
    Transform,
    check_border,
    is_exact,
    is_identity,
)
from backlight.studies.numbers import nanmean, plain
from backlight.studies.results import Result

_SHIFTS, _LARGEST_SHIFT = 12, 60 / 224


@dataclass(frozen=True)
class InvarianceConfig:
    """How images are changed.

    Attributes:
        translation: Shifts in pixels of the input, downwards if positive; None takes 25 shifts from -60 to 60 for an
            input of 224 rows, and in proportion for others.
        scale: Factors by which the image is magnified about its middle, above 0.
        rotation: Degrees by which it is turned about its middle, counter-clockwise.
        border: What fills the place that the image has left.
        class_names: A name for each class; empty for none.
        output: The output of the model that gives the class, by name or place; None follows the rule of
            `Network.class_output`.
        batch_size: How many images run at once; None takes 16. The results agree up to rounding.

    Raises:
        BadInputError: No amounts, amounts that are not finite, a factor not above 0, or an unknown border.

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
        """Check the values."""
        for transform in TRANSFORMS:
            amounts = getattr(self, transform)
            if amounts is not None and not (amounts and all(map(isfinite, amounts))):
                given = ", ".join(map(str, amounts)) or "none"
                raise BadInputError(f"{transform} needs at least one amount, all finite, got {given}")
        if min(self.scale) <= 0:
            raise BadInputError(
                f"a scale is a factor above 0 (1.2 magnifies by a fifth), got {min(self.scale)}"
            )
        check_border(self.border)
        check_at_least(1, batch_size=self.batch_size)

    def amounts(self, height: int) -> dict[Transform, list[float]]:
        """Return the amounts of each transformation for an image of `height` rows, in ascending order.

        Raises:
            BadInputError: A shift moves the whole image away.

        Example:
            >>> InvarianceConfig(translation=(4, -4, 4)).amounts(32)["translation"]
            [-4.0, 4.0]
        """
        shifts = self.translation
        if shifts is None:
            steps = range(-_SHIFTS, _SHIFTS + 1)
            # small images have fewer whole shifts than steps; each is taken once, below
            shifts = tuple(round(_LARGEST_SHIFT * height * step / _SHIFTS) for step in steps)
        furthest = max(shifts, key=abs)
        if abs(furthest) >= height:
            raise BadInputError(
                f"a shift of {furthest} leaves nothing of an image of {height} rows; choose less than {height} pixels"
            )
        own = dict(zip(TRANSFORMS, (shifts, self.scale, self.rotation), strict=True))
        return {transform: sorted({float(amount) for amount in own[transform]}) for transform in TRANSFORMS}


@dataclass(frozen=True, eq=False, repr=False)
class Invariance(Result):
    """How far layers and feature maps move under every amount of every transformation.

    Of n images, k amounts of all transformations together, and m feature maps in all layers together.

    Attributes:
        config: How images were changed.
        network: The network's name.
        layers: The layers.
        shapes: (c, h, w) of each layer, or (c,).
        images: The images' names.
        class_given: Whether the true classes were given; if not, they are the most probable ones of the originals.
        amounts: (k,) the amounts, one transformation after the other.
        transforms: (k,) which transformation each is of, by its place in `TRANSFORMS`.
        raw_distances: (measures, layers, n, k) Euclidean distances.
        lengths: (measures, layers, n) the length of each original's vector.
        other_distances: (measures, layers, n) the distance to the next image; NaN for one image.
        classes: (n,) the class that is followed in each image; (0,) where the network does not classify.
        probabilities: (n, k) its probability; (0, 0) where the network does not classify.
        original_probabilities: (n,) its probability in the original; (0,) where the network does not classify.
        map_counts: (layers,) number of feature maps of each layer.
        map_moves: (transforms, measures, m) how far each map moves, relative to its size in the originals; NaN where
            it is dead in all originals, or no amount changes the images.
        other_map_moves: (measures, m) the same from each image to the next.
        pictures: (n, h, w, 3) uint8, what the network sees.
        output: The name of the output that the class is read from; None where the network has one output only.
    """

    study: ClassVar[str] = "invariance"

    config: InvarianceConfig
    network: str
    layers: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    images: tuple[str, ...]
    class_given: bool
    amounts: NDArray[np.float64]
    transforms: NDArray[np.int64]
    raw_distances: NDArray[np.float64]
    lengths: NDArray[np.float64]
    other_distances: NDArray[np.float64]
    classes: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    original_probabilities: NDArray[np.float64]
    map_counts: NDArray[np.int64]
    map_moves: NDArray[np.float64]
    other_map_moves: NDArray[np.float64]
    pictures: NDArray[np.uint8]
    output: str | None = None

    def of(self, transform: Transform) -> NDArray[np.bool_]:
        """Return which of the k amounts are of a transformation."""
        chosen: NDArray[np.bool_] = self.transforms == TRANSFORMS.index(transform)
        return chosen

    def exact(self, transform: Transform) -> NDArray[np.bool_]:
        """Return (amounts,) which amounts of a transformation only move pixels; the others blur the image a little."""
        size = self.pictures.shape[1:3]
        return np.array([is_exact(transform, float(own), *size) for own in self.amounts[self.of(transform)]])

    def distances(
        self, layer: str, transform: Transform, measure: MoveMeasure = "whole", raw: bool = False
    ) -> NDArray[np.float64]:
        """Return (n, amounts) how far a layer moves, relative to the original's length unless raw; NaN where that is 0.

        `whole` compares all activations, each at its place, as the paper does: the maps of a layer with rows and
        columns move with the image, and so the layer's vector changes. `peak` compares the maps' largest activations,
        wherever they are.
        """
        at = MOVE_MEASURES.index(measure), self.layers.index(layer)
        # (measures, layers, n, k) at a measure and a layer is (n, k), of which the transform's amounts remain
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
        (its length as a vector, or the magnitude of its peak): an image counts in proportion to the map's size in it.
        NaN where the map is dead in all originals, no larger than 1e-6 of the layer's largest. Small means invariant,
        not selective: a map that is the same for every image is the most invariant of all. `moves_to_others` tells
        the two apart.
        """
        found: NDArray[np.float64] = self.map_moves[TRANSFORMS.index(transform), MOVE_MEASURES.index(measure)]
        return self._split(found, layer)

    def moves_to_others(self, layer: str, measure: MoveMeasure = "whole") -> NDArray[np.float64]:
        """Return (maps,) how far each feature map of a layer moves from an image to the next; NaN for one image."""
        return self._split(self.other_map_moves[MOVE_MEASURES.index(measure)], layer)

    def summary(self) -> dict[str, Any]:
        """Return by transformation, layer and measure how far it moves, and its most and least invariant feature maps.

        Distances are relative to the original's length. `mean` is over images and the amounts that change them,
        `least_change` the amount that changes them least and how far the layer moves there, `furthest` where it moves
        furthest, `other_image` how far it moves to another image, `maps` its five most and five least invariant maps.
        """
        return {
            "images": [self._image_summary(i) for i in range(len(self.images))],
            **{transform: self._transform_summary(transform) for transform in TRANSFORMS},
        }

    def class_name(self, image: int) -> str:
        """Return the name of the class that is followed in the image of this index; its number where it has no name."""
        return class_name(int(self.classes[image]), self.config.class_names)

    def _image_summary(self, i: int) -> dict[str, Any]:
        found: dict[str, Any] = {"name": self.images[i], "class": None}
        if len(self.classes):
            found["class"] = {
                "index": int(self.classes[i]),
                "name": self.class_name(i),
                "is_given": self.class_given,
                "output": self.output,
                "probability": float(self.original_probabilities[i]),
            }
        return found

    def _transform_summary(self, transform: Transform) -> dict[str, Any]:
        amounts = self.amounts[self.of(transform)]
        changing = np.array([not is_identity(transform, amount) for amount in amounts])
        layers: dict[str, Any] = {}
        for layer in self.layers:
            layers[layer] = {}
            for measure in MOVE_MEASURES:
                curve = nanmean(self.distances(layer, transform, measure))  # over images
                layers[layer][measure] = {
                    **curve_summary(transform, amounts[changing], curve[changing]),
                    "other_image": plain(self.other(layer, measure)),
                    "maps": maps_summary(
                        self.moves_of_maps(layer, transform, measure), self.moves_to_others(layer, measure)
                    ),
                }
        probability = None
        if len(self.classes):
            curve = nanmean(self.probabilities[:, self.of(transform)])
            probability = {
                "original": float(self.original_probabilities.mean()),
                **probability_summary(amounts[changing], curve[changing]),
            }
        exact = amounts[self.exact(transform)].tolist()
        return {"amounts": amounts.tolist(), "exact": exact, "layers": layers, "probability": probability}

    def _scaled(self, distances: NDArray[np.float64], at: tuple[int, int], raw: bool) -> NDArray[np.float64]:
        """Return distances (n, amounts) by a measure of a layer, divided by the originals' lengths unless raw."""
        # (n, 1); a layer that is silent in the original has no relative distance
        lengths = self.lengths[at][:, None]
        return distances if raw else np.divide(distances, np.where(lengths > 0, lengths, np.nan))

    def _split(self, maps: NDArray[np.float64], layer: str) -> NDArray[np.float64]:
        """Return those of m values that belong to a layer's feature maps."""
        ends = np.cumsum(self.map_counts)  # where each layer's maps end
        at = self.layers.index(layer)
        return maps[ends[at] - self.map_counts[at] : ends[at]]
