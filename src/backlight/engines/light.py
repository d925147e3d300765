"""Lighting up whole images: each image of a hit as the network saw it, and where in it the hits' maps are active."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backlight.engines.pictures import Pictures, shown
from backlight.engines.plan import Plan
from backlight.engines.work import FinishedLight, LightGroup, PendingHit
from backlight.images import Picture
from backlight.network.fast import FastNetwork, step_images
from backlight.storage.tiles import encode_activation, encode_patch

_STEP_PIXELS = 2**21
"""Pixels that are run at once, at most: all layers of a step are held in memory together."""


def light_up(
    maps: ActivationMaps, pictures: Pictures, groups: Sequence[LightGroup]
) -> Iterator[FinishedLight]:
    """Yield what is kept of each group of images, in the order of the groups.

    *Convention*: the network always runs on the same number of images, zeros where a group has no more, so that how
    groups are shared out does not show in the results.
    """
    # One thread reads the next group's pictures, the other encodes those of this one while the network runs.
    with ThreadPoolExecutor(2, "backlight-light") as pool:
        reading = pool.submit(pictures.of, groups[0].image_ids) if groups else None
        for at, group in enumerate(groups):
            seen = reading.result() if reading is not None else {}
            reading = pool.submit(pictures.of, groups[at + 1].image_ids) if at + 1 < len(groups) else None
            encoding: dict[int, Future[bytes]] = {
                image_id: pool.submit(_whole, picture) for image_id, picture in seen.items()
            }
            activations = tuple((hit, encode_activation(codes)) for hit, codes in maps.of(group, seen))
            yield FinishedLight({image_id: own.result() for image_id, own in encoding.items()}, activations)


def _whole(picture: Picture) -> bytes:
    return encode_patch(shown(picture))


class ActivationMaps:
    """Runs the network up to the layers of a plan whose units have a place, and takes the maps of hits from it."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        area = plan.preprocessing.crop[0] * plan.preprocessing.crop[1]
        self._step = max(1, min(step_images(plan.net.device), _STEP_PIXELS // area))
        self._layers = [i for i, layer in enumerate(plan.layers) if layer.is_spatial and plan.channels[i]]
        self._network: FastNetwork | None = None

    def of(
        self, group: LightGroup, seen: dict[int, Picture]
    ) -> Iterator[tuple[PendingHit, NDArray[np.uint8]]]:
        """Yield each hit of a group with the codes (h, w) of its map."""
        if not group.hits:
            return
        if self._network is None:
            self._network = FastNetwork(self._plan.net, [self._plan.layers[i] for i in self._layers])
        inputs = self._plan.preprocessing.normalise([seen[image_id] for image_id in group.image_ids])
        for start in range(0, len(inputs), self._step):
            ids = group.image_ids[start : start + self._step]
            part = inputs[start : start + self._step]
            empty = part.new_zeros(self._step - len(part), *part.shape[1:])
            # For each layer (n, c, h, w), of the images of this step.
            found = dict(zip(self._layers, self._network(torch.cat([part, empty])), strict=True))
            place = {image_id: at for at, image_id in enumerate(ids)}
            for layer_index, maps in found.items():
                hits = [h for h in group.hits if h.layer_index == layer_index and h.image_id in place]
                if hits:
                    rows = [place[hit.image_id] for hit in hits]
                    yield from zip(hits, _codes(maps[rows, [hit.channel for hit in hits]]), strict=True)


def _codes(maps: Tensor) -> NDArray[np.uint8]:
    """Return maps (m, h, w) rectified, as codes from 0 to 255 of the maximum of each.

    *Convention*: codes are rounded to the nearest, halves to even; a map that is nowhere above zero is all zero.
    """
    positive = maps.float().clamp(min=0)
    most = positive.amax((1, 2), keepdim=True)
    # Divided before it is multiplied: 255 times a large activation could overflow.
    codes = (positive / most.clamp(min=torch.finfo(torch.float32).tiny) * 255).round()
    return codes.to(torch.uint8).cpu().numpy()
