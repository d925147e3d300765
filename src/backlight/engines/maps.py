"""The maps of hits: the network run once more on a few images, and of each layer the maps that are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from backlight.engines.plan import Plan
from backlight.images import Picture
from backlight.network.fast import FastNetwork, step_images

_STEP_PIXELS = 2**21
"""Pixels that are run at once, at most: all layers of a step are held in memory together."""


@runtime_checkable
class InAMap(Protocol):
    """What is in a feature map of an image: a hit, or a question about one."""

    @property
    def layer_index(self) -> int:
        """Place of the layer in the plan."""

    @property
    def channel(self) -> int:
        """The feature map."""

    @property
    def image_id(self) -> int:
        """The image."""


_Own = TypeVar("_Own", bound=InAMap)


class HitMaps:
    """Runs the network up to the layers of a plan whose units have a place, and takes the maps of hits from it.

    *Convention*: the network always runs on the same number of images, zeros where there are no more, so that how
    images are shared out does not show in the results.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        area = plan.preprocessing.crop[0] * plan.preprocessing.crop[1]
        self._step = max(1, min(step_images(plan.net.device), _STEP_PIXELS // area))
        self._layers = [i for i, layer in enumerate(plan.layers) if layer.is_spatial and plan.channels[i]]
        self._network: FastNetwork | None = None

    def of(self, seen: Mapping[int, Picture], wanted: Sequence[_Own]) -> Iterator[tuple[list[_Own], Tensor]]:
        """Yield hits of one layer each time, with their maps (m, h, w).

        Args:
            seen: The images to run, by id.
            wanted: Hits in them, of layers whose units have a place.
        """
        if not seen:
            return
        if self._network is None:
            self._network = FastNetwork(self._plan.net, [self._plan.layers[i] for i in self._layers])
        inputs, image_ids = self._plan.preprocessing.normalise(list(seen.values())), list(seen)
        for start in range(0, len(inputs), self._step):
            ids = image_ids[start : start + self._step]
            part = inputs[start : start + self._step]
            empty = part.new_zeros(self._step - len(part), *part.shape[1:])
            # For each layer (n, c, h, w), of the images of this step.
            found = dict(zip(self._layers, self._network(torch.cat([part, empty])), strict=True))
            place = {image_id: at for at, image_id in enumerate(ids)}
            for layer_index, maps in found.items():
                own = [h for h in wanted if h.layer_index == layer_index and h.image_id in place]
                if own:
                    rows = [place[hit.image_id] for hit in own]
                    yield own, maps[rows, [hit.channel for hit in own]]
