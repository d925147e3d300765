"""A sweep: a network run once on an image and on each of its covered copies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from backlight.errors import ActivationError
from backlight.geometry import Box
from backlight.network import Layer
from backlight.network.fast import FastNetwork, step_images
from backlight.projection import Unit
from backlight.studies.classes import probabilities
from backlight.studies.covering import covered
from backlight.studies.progress import Count


@dataclass(frozen=True, eq=False)
class SweptValues:
    """What a network gives for n covered copies of an image.

    Attributes:
        map_sums: (n,) the sum of a feature map's positive activations, by `map_sum`; of a fully connected unit its
            activation.
        unit_values: (n,) the activation of one unit.
        probabilities: (n,) the probability of one class; (0,) where the network does not classify.
        labels: (n,) the most probable class; (0,) where the network does not classify.
    """

    map_sums: NDArray[np.float64]
    unit_values: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    labels: NDArray[np.int64]


class SquareSweep:
    """Runs an image, then its covered copies, up to a layer and, where the network classifies, to its output.

    Args:
        forward: Runs the network up to a layer, and to the output that the class is read from where it classifies.
        layer: The layer.
        image: An input (c, h, w).
        batch_size: How many copies run at once; None chooses by the device.

    Attributes:
        maps: (c, h, w) the layer's activations of the uncovered image; (c,) of a fully connected layer.
        probabilities: (classes,) the probabilities of the uncovered image; None where the network does not classify.

    Raises:
        ActivationError: An activation for the image is not finite.

    *Convention*: outputs are taken to be probabilities if those of the uncovered image are not negative and sum to 1;
    otherwise their softmax is taken.
    """

    def __init__(
        self,
        forward: FastNetwork,
        layer: Layer,
        image: Float[Tensor, "c h w"],
        batch_size: int | None = None,
    ) -> None:
        self._run, self._layer, self._image = forward, layer, image
        self._batch_size = batch_size or step_images(image.device)
        maps, *scores = self._run(image[None])  # (1, c, h, w), then (1, classes) where the network classifies
        self.maps = _as_array(maps[0])
        self.probabilities: NDArray[np.float64] | None = None
        if scores:
            self._uncovered = _as_array(scores[0])[0]
            self.probabilities = self._probabilities(scores[0])[0]
        self._check(self.maps)

    def __call__(
        self,
        unit: Unit,
        class_index: int | None,
        fill: Float[Tensor, "c h w"],
        boxes: Sequence[Box],
        count: Count,
    ) -> SweptValues:
        """Return what the network gives for the image with each box covered.

        Args:
            unit: The unit; its feature map is summed.
            class_index: The class; None where the network does not classify.
            fill: What a box shows, (c, h, w).
            boxes: The boxes, each covered in a copy of its own.
            count: Counts the boxes that are done.

        Raises:
            ActivationError: An activation for a copy is not finite.
        """
        parts = []
        for start in range(0, len(boxes), self._batch_size):
            part = boxes[start : start + self._batch_size]
            copies = covered(self._image, fill, part)  # (boxes, c, h, w)
            parts.append(self._values(self._run(copies), unit, class_index))
            count.add(len(part))
        values = SweptValues(*(np.concatenate(own) for own in zip(*parts, strict=True)))
        self._check(values.map_sums)
        return values

    def _values(
        self, outputs: tuple[Tensor, ...], unit: Unit, class_index: int | None
    ) -> tuple[NDArray[np.generic], ...]:
        """Return the fields of `SweptValues` for one batch: the layer's maps first, then the class scores if any."""
        own = _as_array(outputs[0][:, unit.channel])  # (n, h, w), the unit's feature map; or (n,), the unit
        is_map = unit.row is not None
        sums, values = (map_sum(own), own[:, unit.row, unit.col]) if is_map else (own, own.copy())
        if class_index is None:
            return sums, values, np.zeros(0), np.zeros(0, np.int64)
        found = self._probabilities(outputs[1])  # (n, classes)
        return sums, values, found[:, class_index], found.argmax(1)

    def _probabilities(self, output: Tensor) -> NDArray[np.float64]:
        return probabilities(_as_array(output), self._uncovered)

    def _check(self, values: NDArray[np.float64]) -> None:
        if not np.isfinite(values).all():
            raise ActivationError(
                f"layer {self._layer.name!r} gives activations that are not finite for this image; "
                "check the weights and the image"
            )


def map_sum(maps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum over rows and columns of the positive activations of feature maps (..., h, w).

    *Convention*: what is below zero does not count. A leaky rectifier leaves small negative values at all places where
    the map does not respond, and these would hide what it does respond to.

    Example:
        >>> map_sum(np.array([[[3.0, -0.5], [-0.5, 1.0]]])).tolist()
        [4.0]
    """
    sums: NDArray[np.float64] = np.asarray(np.maximum(maps, 0).sum((-2, -1)))
    return sums


def _as_array(values: Tensor) -> NDArray[np.float64]:
    with torch.no_grad():
        return values.double().cpu().numpy()
