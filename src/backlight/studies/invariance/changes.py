"""Images under every amount of every transformation: how far layers and maps move, and the class's probability."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from backlight.progress import Watching
from backlight.studies.classes import probabilities
from backlight.studies.invariance.moves import (
    Activations,
    ActivationStream,
    layer_lengths,
    map_moves,
    map_sizes,
)
from backlight.studies.invariance.transforms import TRANSFORMS, Border, Transform, is_identity, transformed
from backlight.studies.progress import Count

_DEAD = 1e-6
"""A map counts as dead where it is no larger than this share of the largest map of its layer."""


class TransformSweep:
    """Runs images and their transformed copies, one image after the other.

    Args:
        activations: Runs the network.
        inputs: The images.
        amounts: The amounts of each transformation.
        border: What shows where the image has moved away.

    *Convention*: a map's move is the mean over the amounts that change an image, summed over the images and divided by
    the sum of the map's sizes in the originals: an image counts in proportion to the map's size in it.
    """

    def __init__(
        self,
        activations: ActivationStream,
        inputs: Float[Tensor, "n c h w"],
        amounts: Mapping[Transform, Sequence[float]],
        border: Border,
    ) -> None:
        self._activations, self._inputs, self._border = activations, inputs, border
        self._steps = [(transform, amount) for transform in TRANSFORMS for amount in amounts[transform]]
        self._moving = [i for i, step in enumerate(self._steps) if not is_identity(*step)]

    def __call__(self, classes: Sequence[int] | None, progress: Watching = None) -> dict[str, NDArray[Any]]:
        """Return the arrays of an `Invariance`, from `amounts` to `other_map_moves`, by their names.

        Args:
            classes: The class of each image; None takes the most probable one of the original.
            progress: Called with `invariance`, the number of images run and the number in all.
        """
        stream = self._activations(self._copies())
        n_each = 1 + len(self._moving) + (len(self._inputs) > 1)
        count = Count(progress, "invariance", len(self._inputs) * n_each)
        found: list[dict[str, NDArray[Any]]] = []
        for i in range(len(self._inputs)):
            found.append(self._image(stream, None if classes is None else classes[i]))
            count.add(n_each)
        return self._joined({name: np.stack([own[name] for own in found]) for name in found[0]})

    def _copies(self) -> Iterator[Tensor]:
        """Yield each image, then its changed copies, then the next image."""
        for i, image in enumerate(self._inputs):
            yield image
            for step in self._moving:
                yield transformed(image, *self._steps[step], self._border)
            if len(self._inputs) > 1:  # another image, the last one's being the first
                yield self._inputs[(i + 1) % len(self._inputs)]

    def _image(self, stream: Iterator[Activations], class_index: int | None) -> dict[str, NDArray[Any]]:
        """Return what an image and its copies, next in the stream, give of each array."""
        original = next(stream)
        counts = self._activations.map_counts
        sizes = map_sizes(original.maps)  # (measures, maps of all layers)
        distances = np.zeros((len(sizes), len(counts), len(self._steps)))  # (measures, layers, k)
        outputs = np.repeat(original.output[None], len(self._steps), 0)  # (k, classes)
        totals = np.zeros((len(TRANSFORMS), *sizes.shape))  # (transforms, measures, maps)
        # steps that change nothing are not run: their distance stays 0, their output the original's
        for step in self._moving:
            copy = next(stream)
            moves = map_moves(original.maps, copy.maps)
            # a layer's distance is the root of its maps' squared ones, added
            distances[..., step], outputs[step] = layer_lengths(moves, counts), copy.output
            totals[TRANSFORMS.index(self._steps[step][0])] += moves
        others = np.full(sizes.shape, np.nan)
        if len(self._inputs) > 1:
            others = map_moves(original.maps, next(stream).maps)
        return {
            "raw_distances": distances,
            "lengths": layer_lengths(sizes, counts),
            "other_distances": layer_lengths(others, counts),
            "sizes": sizes,
            # (transforms, measures, maps) means over amounts; without an amount 0, which `_joined` makes NaN
            "moves": totals / np.maximum(self._n_moving(), 1)[:, None, None],
            "others": others,
            **self._class(original.output, outputs, class_index),
        }

    def _n_moving(self) -> NDArray[np.int64]:
        """Return for each transformation the number of its amounts that change an image."""
        kinds = [TRANSFORMS.index(self._steps[step][0]) for step in self._moving]
        return np.bincount(kinds, minlength=len(TRANSFORMS))

    def _class(
        self, original: NDArray[np.floating], outputs: NDArray[np.floating], class_index: int | None
    ) -> dict[str, NDArray[Any]]:
        if not self._activations.n_classes:
            return {}
        index = int(original.argmax()) if class_index is None else class_index
        return {
            "classes": np.array(index, np.int64),
            "probabilities": probabilities(outputs, original)[:, index],
            "original_probabilities": probabilities(original, original)[index],
        }

    def _joined(self, found: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return the arrays of all images, given those of each, stacked along a first axis."""
        # summed over images, which leaves (measures, maps), and (transforms, measures, maps) of moves
        sizes, moves, others = (found.pop(name).sum(0) for name in ("sizes", "moves", "others"))
        counts = self._activations.map_counts
        # the largest map of each layer, repeated for each map of that layer
        largest = np.maximum.reduceat(sizes, np.cumsum([0, *counts[:-1]]), axis=1).repeat(counts, axis=1)
        # NaN of a dead map goes on into its moves
        sizes = np.where(sizes > _DEAD * largest, sizes, np.nan)
        moves = np.where(self._n_moving()[:, None, None] > 0, moves / sizes, np.nan)
        # (n, measures, layers, ...) to (measures, layers, n, ...)
        by_layer = {
            name: np.moveaxis(found.pop(name), 0, 2)
            for name in ("raw_distances", "lengths", "other_distances")
        }
        unclassified = {
            "classes": np.zeros(0, np.int64),
            "probabilities": np.zeros((0, 0)),
            "original_probabilities": np.zeros(0),
        }
        return {
            "amounts": np.array([amount for _, amount in self._steps], np.float64),
            "transforms": np.array([TRANSFORMS.index(transform) for transform, _ in self._steps], np.int64),
            **by_layer,
            **(found or unclassified),
            "map_counts": np.array(counts, np.int64),
            "map_moves": moves,
            "other_map_moves": others / sizes,
        }
