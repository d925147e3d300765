"""One pass over the images: of each feature map what its maxima are and where, how often it is on, and how it is alike.

Memory does not grow with the size of images, and with their number only by one number and one place for each map.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backlight.network import Layer, Network
from backlight.network.fast import FastNetwork, step_images
from backlight.studies.diagnosis.inputs import Inputs
from backlight.studies.progress import Count

_MOST_PLACES = 1024
"""Places of a map that its correlations with others are taken over, in each image."""


@dataclass(frozen=True, eq=False)
class Record:
    """What was seen of a layer.

    Attributes:
        layer: The layer.
        ids: (n,) the ids of the images.
        maxima: (n, c) float32, the strongest activation of each map in each image.
        minima: (n, c) float32, the weakest.
        places: (n, c, 2) int64, row and column of the strongest.
        mean_map: (c, h, w) mean activation at each place.
        correlations: (c, c) correlation of the maps' activations at the same places; NaN where one does not vary.
    """

    layer: Layer
    ids: NDArray[np.int64]
    maxima: NDArray[np.float32]
    minima: NDArray[np.float32]
    places: NDArray[np.int64]
    mean_map: NDArray[np.float64]
    correlations: NDArray[np.float64]

    @property
    def n_images(self) -> int:
        """Number of images."""
        return len(self.ids)

    @property
    def awake(self) -> NDArray[np.int64]:
        """(c,) number of images in which each map is above zero somewhere."""
        return np.asarray((self.maxima > 0).sum(0), np.int64)


def collect(
    net: Network,
    inputs: Inputs,
    layers: Sequence[Layer],
    count: Count | None = None,
    change: Callable[[Tensor], Tensor] | None = None,
) -> dict[str, Record]:
    """Return what was seen of each layer, by its name.

    Args:
        net: The captured network.
        inputs: The images.
        layers: Layers whose units have a row and a column.
        count: Counts the images.
        change: Changes the inputs first.
    """
    network = FastNetwork(net, layers)
    sums = [_Sums(layer) for layer in layers]
    ids: list[int] = []
    for own, batch in inputs.batches(step_images(net.device)):
        ids.extend(own)
        for total, maps in zip(sums, network(batch if change is None else change(batch)), strict=True):
            total.add(maps)
        if count is not None:
            count.add(len(own))
    return {layer.name: total.record(ids) for layer, total in zip(layers, sums, strict=True)}


class _Sums:
    """What a layer's record is made of, added batch by batch."""

    def __init__(self, layer: Layer) -> None:
        self._layer, (n_maps, *size) = layer, layer.shape
        self._extremes: list[tuple[Tensor, Tensor, Tensor]] = []
        self._mean = torch.zeros(n_maps, *size, dtype=torch.float64)
        self._n_places, self._first = 0, torch.zeros(n_maps, dtype=torch.float64)
        self._second = torch.zeros(n_maps, n_maps, dtype=torch.float64)
        self._step = -(-size[0] * size[1] // _MOST_PLACES)

    def add(self, maps: Tensor) -> None:
        """Add the maps (n, c, h, w) of some images."""
        flat = maps.flatten(2)
        top, at = flat.max(2)
        self._extremes.append((top.float().cpu(), flat.amin(2).float().cpu(), at.cpu()))
        self._mean += maps.sum(0, dtype=torch.float32).cpu()
        # (c, places of all images), every so many of them; duplicates stay duplicates
        part = flat[:, :, :: self._step].transpose(0, 1).flatten(1).float()
        self._n_places += part.shape[1]
        self._first += part.double().sum(1).cpu()
        self._second += (part @ part.T).double().cpu()

    def record(self, ids: Sequence[int]) -> Record:
        """Return the record of all images."""
        top, low, at = (torch.cat(own).numpy() for own in zip(*self._extremes, strict=True))
        n, width = len(ids), self._layer.shape[2]
        return Record(
            layer=self._layer,
            ids=np.asarray(ids, np.int64),
            maxima=top,
            minima=low,
            places=np.stack([at // width, at % width], -1),
            mean_map=(self._mean / n).numpy(),
            correlations=correlations(self._n_places, self._first.numpy(), self._second.numpy()),
        )


def correlations(n: int, first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the correlations (c, c) of c variables from their sums; NaN where one does not vary.

    Args:
        n: Number of samples.
        first: (c,) sums.
        second: (c, c) sums of products.

    Example:
        >>> x = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0]])
        >>> correlations(3, x.sum(1), x @ x.T).round(6).tolist()
        [[1.0, 1.0], [1.0, 1.0]]
    """
    mean = first / n
    covariance = second / n - np.outer(mean, mean)
    variance = np.diag(covariance)
    # what rounding of float32 products leaves of a constant map is no variance
    usable = variance > 1e-7 * np.maximum(np.diag(second) / n, 1e-30)
    deviation = np.where(usable, np.sqrt(np.where(usable, variance, 1)), np.nan)
    found: NDArray[np.float64] = np.clip(covariance / np.outer(deviation, deviation), -1, 1)
    return found
