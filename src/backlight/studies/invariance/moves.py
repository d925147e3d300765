"""How far activations move when an input is replaced by another: of whole layers, and of each feature map."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Float64
from numpy.typing import NDArray
from torch import Tensor

from backlight.errors import ActivationError
from backlight.network import Layer, Network
from backlight.network.class_output import ClassOutput
from backlight.network.fast import FastNetwork
from backlight.projection import MOST_IMAGES
from backlight.studies.numbers import as_array

MoveMeasure = Literal["whole", "peak"]
"""How feature maps are compared: all activations, each at its place, or only each map's largest, wherever it is."""

MOVE_MEASURES: tuple[MoveMeasure, ...] = get_args(MoveMeasure)


@dataclass(frozen=True, eq=False)
class Activations:
    """The activations of some layers for one input, and the network's output.

    Attributes:
        maps: The feature maps (maps, places) of each layer; without rows and columns each unit is a map of one place.
        output: (classes,) the network's output; empty where it does not classify.
    """

    maps: tuple[NDArray[np.floating], ...]
    output: NDArray[np.floating]


def map_sizes(maps: Sequence[Float[np.ndarray, "_ _"]]) -> Float64[np.ndarray, "measures maps"]:
    """Return the length as a vector, and the magnitude of the peak, of each feature map, one layer after the other.

    Example:
        >>> map_sizes([np.array([[3.0, 4.0], [0.0, -2.0]])])
        array([[5., 2.],
               [4., 0.]])
    """
    # a row for each of `MOVE_MEASURES`; the maps of all layers follow each other
    lengths = np.concatenate([_lengths(own) for own in maps])
    return np.stack([lengths, np.abs(np.concatenate([own.max(1) for own in maps]))]).astype(np.float64)


def map_moves(
    before: Sequence[Float[np.ndarray, "_ _"]], after: Sequence[Float[np.ndarray, "_ _"]]
) -> Float64[np.ndarray, "measures maps"]:
    """Return how far each feature map of all layers moves: its Euclidean distance, and how much its peak changes.

    Example:
        >>> map_moves([np.array([[3.0, 4.0, 0.0]])], [np.array([[0.0, 4.0, 4.0]])])
        array([[5.],
               [0.]])
    """
    pairs = list(zip(before, after, strict=True))
    distances = np.concatenate([_lengths(new.astype(np.float64) - old) for old, new in pairs])
    # the peak of a map is over its places, so it may be elsewhere before and after
    peaks = np.concatenate([new.max(1).astype(np.float64) - old.max(1) for old, new in pairs])
    return np.stack([distances, np.abs(peaks)])


class ActivationStream:
    """Runs inputs up to some layers and, where the network classifies, to its output.

    Args:
        net: The captured network.
        layers: The layers.
        chosen: The output that the class is read from.
        batch_size: How many inputs run at once; None takes 16.

    Attributes:
        n_classes: Number of classes; 0 where the network does not classify.
        map_counts: Number of feature maps of each layer.

    *Convention*: every batch has the same size (the last one is padded with copies), so that equal inputs give equal
    activations.
    """

    def __init__(
        self, net: Network, layers: Sequence[Layer], chosen: ClassOutput, batch_size: int | None = None
    ) -> None:
        self.map_counts = [layer.n_maps for layer in layers]
        self._size = batch_size or MOST_IMAGES
        self.n_classes = chosen.n_classes
        self._run = FastNetwork(net, layers, chosen.output)

    def __call__(self, inputs: Iterable[Tensor]) -> Iterator[Activations]:
        """Yield the activations for each input (c, h, w).

        Raises:
            ActivationError: An activation is not finite.
        """
        left = iter(inputs)
        while batch := list(islice(left, self._size)):
            filled_up = batch + batch[-1:] * (self._size - len(batch))
            found = [as_array(own) for own in self._run(torch.stack(filled_up))]
            if not all(np.isfinite(own).all() for own in found):
                raise ActivationError(
                    "the layers give activations that are not finite for these images; check the weights and the images"
                )
            # the output follows the layers; without classes each input gets an empty one
            outputs = found.pop() if self.n_classes else np.zeros((self._size, 0), np.float32)
            maps = [own.reshape(*own.shape[:2], -1) for own in found]  # by layer: (batch, maps, places)
            for i in range(len(batch)):
                yield Activations(tuple(own[i] for own in maps), outputs[i])


def layer_lengths(
    maps: Float64[np.ndarray, "measures maps"], counts: Sequence[int]
) -> Float64[np.ndarray, "measures layers"]:
    """Return the length of each layer's vector, given those of its maps and how many maps each layer has.

    Example:
        >>> layer_lengths(np.array([[3.0, 4.0, 2.0]]), [2, 1])
        array([[5., 2.]])
    """
    starts = np.cumsum([0, *counts[:-1]])  # where each layer's maps begin
    lengths: NDArray[np.float64] = np.sqrt(np.add.reduceat(maps**2, starts, axis=1))
    return lengths


def _lengths(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the Euclidean length (n,) of each row."""
    lengths: NDArray[np.float64] = np.linalg.norm(rows.astype(np.float64), axis=1)
    return lengths
