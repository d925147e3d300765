"""Lighting up whole images: each image of a hit as the network saw it, and where in it the hits' maps are active."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backlight.engines.maps import HitMaps
from backlight.engines.pictures import Pictures, shown
from backlight.engines.work import FinishedLight, LightGroup, PendingHit
from backlight.images import Picture
from backlight.storage.tiles import encode_activation, encode_patch


def light_up(maps: HitMaps, pictures: Pictures, groups: Sequence[LightGroup]) -> Iterator[FinishedLight]:
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
            activations = tuple(_activations(maps, group, seen))
            yield FinishedLight({image_id: own.result() for image_id, own in encoding.items()}, activations)


def _whole(picture: Picture) -> bytes:
    return encode_patch(shown(picture))


def _activations(
    maps: HitMaps, group: LightGroup, seen: dict[int, Picture]
) -> Iterator[tuple[PendingHit, bytes]]:
    """Yield each hit of a group with its map of activations, encoded."""
    for hits, found in maps.of(seen if group.hits else {}, group.hits):
        for hit, codes in zip(hits, _codes(found), strict=True):
            yield hit, encode_activation(codes)


def _codes(maps: Tensor) -> NDArray[np.uint8]:
    """Return maps (m, h, w) rectified, as codes from 0 to 255 of the maximum of each.

    *Convention*: codes are rounded to the nearest, halves to even; a map that is nowhere above zero is all zero.
    """
    positive = maps.float().clamp(min=0)
    most = positive.amax((1, 2), keepdim=True)
    # Divided before it is multiplied: 255 times a large activation could overflow.
    codes = (positive / most.clamp(min=torch.finfo(torch.float32).tiny) * 255).round()
    return codes.to(torch.uint8).cpu().numpy()
