"""Hits under study as a network takes them: their inputs, and how large their projections are at each pixel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from backlight.geometry import Box
from backlight.images import ImageSource
from backlight.network import Layer, Network
from backlight.operators.ruleset import RuleSet
from backlight.projection import Projections, Projector, Unit, paying_crops
from backlight.studies.subjects import Subject

_SIDE_PER_STEP = 32


class HitProjector:
    """Projects units of one layer by several rule sets, on crops where these pay.

    Args:
        net: The captured network.
        layer: The layer of the units.
    """

    def __init__(self, net: Network, layer: Layer) -> None:
        self._net, self._layer = net, layer
        self._projectors: dict[tuple[RuleSet, bool], Projector] = {}

    def __call__(self, images: Sequence[Tensor], units: Sequence[Unit], rules: RuleSet) -> Projections:
        """Return the projections of units, each in its input (c, h, w)."""
        crops = paying_crops(self._net, self._layer, rules, len(units), len(units))
        key = rules, crops is None
        if key not in self._projectors:
            self._projectors[key] = Projector(self._net, [self._layer], rules, crops)
        return self._projectors[key](images, units)


def magnitude(projections: Projections, i: int, box: Box) -> NDArray[np.float64]:
    """Return the magnitude (h, w) of a projection on a box, summed over channels."""
    return projections.on(i, box).abs().sum(0).double().cpu().numpy()


def smoothed(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return values under a box filter, so that pixels count together with their surroundings.

    *Convention*: the box is 1 pixel wide, and 2 wider for each 32 pixels of the shorter side: 7 for a field of 100.

    Example:
        >>> smoothed(np.eye(3))[0].tolist()
        [1.0, 0.0, 0.0]
    """
    size = 2 * (min(values.shape) // _SIDE_PER_STEP) + 1
    result: NDArray[np.float64] = ndimage.uniform_filter(values.astype(np.float64), size, mode="constant")
    return result


def inputs_of_hits(net: Network, source: ImageSource, subjects: Sequence[Subject]) -> list[Tensor]:
    """Return the input (c, h, w) of each hit; hits of one image share it."""
    ids = list(dict.fromkeys(subject.image_id for subject in subjects))
    pictures = [source.load(i) for i in ids]
    batch = net.preprocessing.batch(pictures, tells=False)  # type: ignore[union-attr]
    inputs = dict(zip(ids, batch.to(net.device, net.dtype), strict=True))
    return [inputs[subject.image_id] for subject in subjects]
