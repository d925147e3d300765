"""The search for hits: the strongest activations of every feature map over images, each projected to the pixels.

*Source*: Zeiler, Taylor & Fergus (2011), section 3. Switches differ from image to image, so an activation is projected
with those of its own image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backlight.adaptive.config import AdaptiveConfig
from backlight.adaptive.decomposition import Activation, single
from backlight.adaptive.hits import FilterHit, FoundHits, HitSearch, MapHits
from backlight.adaptive.inference import Codes
from backlight.adaptive.inputs import picture, readable
from backlight.adaptive.net import AdaptiveDeconvNet
from backlight.adaptive.operators import Reconstruction
from backlight.errors import ActivationError, BadInputError
from backlight.images import ImageSource, Skipped
from backlight.progress import Watching, as_progress, shows_progress
from backlight.render import scale
from backlight.scan import TopHits


@shows_progress
def find_hits(
    net: AdaptiveDeconvNet,
    images: ImageSource | NDArray[np.float32],
    wanted: HitSearch | None = None,
    ids: Sequence[int] | None = None,
    progress: Watching = None,
) -> FoundHits:
    """Return the strongest activations of feature maps over images, each projected with its own image's switches.

    One pass; only a batch and the strongest hits so far are held in memory.

    Args:
        net: The network.
        images: A source; or an array (n, c, h, w) of prepared images, which may lie in a file. Its patches show the
            prepared images, since there are no others.
        wanted: Layers, maps and number of hits; None for the defaults.
        ids: Ids of the images to search; None for all.
        progress: True shows bars; a function is called after each batch.

    Raises:
        BadInputError: No readable image, images that do not fit, an unknown layer or map.
        ActivationError: Codes that are not finite.

    *Convention*: among equal magnitudes in one image and map, the lowest row, then column, is taken.

    Example:
        >>> from backlight.adaptive import PRESETS
        >>> noise = np.random.default_rng(0).normal(size=(3, 1, 64, 64)).astype(np.float32)
        >>> found = find_hits(AdaptiveDeconvNet(PRESETS["small"]), noise, HitSearch(layers=(1,), maps=2))
        >>> [len(own.hits) for own in found.of(1)]
        [3, 3]
    """
    wanted = wanted or HitSearch()
    ids = range(len(images)) if ids is None else ids
    if not len(ids) or not 0 <= min(ids) <= max(ids) < len(images):
        raise BadInputError(
            f"the search needs at least 1 image with an id from 0 to {len(images) - 1}, got {list(ids)[:10]}"
        )
    layers = tuple(sorted(set(wanted.layers or range(1, net.n_layers + 1))))
    searches = [_LayerSearch(net, layer, wanted) for layer in layers]
    skipped: list[Skipped] = []
    n_images, size = 0, net.config.size
    for start in range(0, len(ids), wanted.batch):
        some = ids[start : start + wanted.batch]
        batch = _read(net.config, images, some, skipped)
        if batch.ids:
            codes = net.infer(batch.images, layers[-1], values=wanted.values)
            for search in searches:
                search.add(codes, batch)
            n_images, size = n_images + len(batch.ids), batch.pictures[0].shape[:2]
        as_progress(progress)("search", start + len(some), len(ids))
    if not n_images:
        raise BadInputError(f"none of the {len(ids)} images can be read; the first: {skipped[0].reason}")
    maps = tuple(own for search in searches for own in search.found())
    return FoundHits(maps, wanted, size, n_images, tuple(skipped))


@dataclass(frozen=True, eq=False)
class _ReadBatch:
    """Images of a batch: ids, prepared (n, c, h, w), and as pictures (h, w, 3) to cut patches from."""

    ids: list[int]
    images: Tensor
    pictures: list[NDArray[np.uint8]]


def _read(
    config: AdaptiveConfig,
    source: ImageSource | NDArray[np.float32],
    ids: Sequence[int],
    skipped: list[Skipped],
) -> _ReadBatch:
    if isinstance(source, np.ndarray):
        own = np.stack([source[i] for i in ids])
        return _ReadBatch(
            list(ids), torch.from_numpy(own), [scale(image.transpose(1, 2, 0)) for image in own]
        )
    found = list(readable(config, source, ids, skipped))
    images = torch.stack([own for _, own, _ in found]) if found else torch.empty(0)
    pictures = [np.array(picture(config, loaded).convert("RGB")) for _, _, loaded in found]
    return _ReadBatch([image_id for image_id, _, _ in found], images, pictures)


def _activation(layer: int, channel: int, place: NDArray[np.int32], value: np.float32) -> Activation:
    return Activation(layer, channel, int(place[0]), int(place[1]), float(value))


class _LayerSearch:
    """The strongest hits of one layer so far; a new one is projected while its batch is there."""

    def __init__(self, net: AdaptiveDeconvNet, layer: int, wanted: HitSearch) -> None:
        self._filters, self._layer, self._batch = net.filters[:layer], layer, wanted.batch
        self._channels = wanted.channels(net.config, layer)
        self._field = net.config.receptive_field(layer)
        self._top = TopHits.empty(len(self._channels), wanted.top)
        # by position among the maps searched and id of the image
        self._kept: dict[tuple[int, int], FilterHit] = {}

    def add(self, codes: Codes, batch: _ReadBatch) -> None:
        """Take the codes of more images."""
        # (n, maps searched, h, w)
        maps = codes[self._layer].maps[:, list(self._channels)]
        if not maps.isfinite().all():
            raise ActivationError(
                f"the codes of layer {self._layer} are not finite: its steps are too long for these images; "
                "call `estimate_norms` on them to set shorter ones"
            )
        # Of each image and map the place of largest magnitude, (n, maps); max takes the first of equal ones.
        width = maps.shape[3]
        magnitudes, flat = maps.abs().flatten(2).max(2)
        # (n, maps) the values there, with their signs
        values = maps.flatten(2).gather(2, flat[..., None])[..., 0].cpu().numpy()
        strengths = magnitudes.cpu().numpy()
        # (n, maps, 2): row and column of the flat index row · width + col
        places = torch.stack([flat // width, flat % width], 2).cpu().numpy().astype(np.int32)
        ids = np.array(batch.ids, np.int64)
        # Magnitudes decide; a map that is silent in an image, all zero, gives no hit.
        self._top = self._top.add(np.where(strengths > 0, strengths, -np.inf), ids, places)
        # What has dropped out of the lists is forgotten, so that memory does not grow with the images.
        listed = {(map_index, int(i)) for map_index, row in enumerate(self._top.image_ids) for i in row}
        self._kept = {key: hit for key, hit in self._kept.items() if key in listed}
        # Only this batch's hits are still to be projected, by its codes, and only those that made it into the list.
        fresh = [
            (image, map_index)
            for image, image_id in enumerate(batch.ids)
            for map_index in range(len(self._channels))
            if (map_index, image_id) in listed and strengths[image, map_index] > 0
        ]
        # projections take as much memory as images, so they come in batches too
        for start in range(0, len(fresh), self._batch):
            some = fresh[start : start + self._batch]
            activations = [
                _activation(self._layer, self._channels[m], places[i, m], values[i, m]) for i, m in some
            ]
            self._project(codes, batch, some, activations)

    def found(self) -> list[MapHits]:
        """Return the hits of each feature map."""
        # a list that is not full ends with ids of -1, which no hit has
        ordered = [
            [self._kept[map_index, int(i)] for i in row if (map_index, int(i)) in self._kept]
            for map_index, row in enumerate(self._top.image_ids)
        ]
        return [
            MapHits(self._layer, channel, tuple(hits))
            for channel, hits in zip(self._channels, ordered, strict=True)
        ]

    def _project(
        self,
        codes: Codes,
        batch: _ReadBatch,
        some: Sequence[tuple[int, int]],
        activations: Sequence[Activation],
    ) -> None:
        """Project activations and keep them as hits.

        Args:
            codes: Of the batch.
            batch: Its images.
            some: For each activation, the positions of its image in the batch and of its map among those searched.
            activations: The activations.
        """
        rows = [image for image, _ in some]
        code = codes[self._layer]
        # (len(some), k, h, w), one activation each, over the switches of the image that it belongs to
        alone = single(activations, code.shape, code.pooled)
        below = codes.at(rows).below(self._layer)
        projections = Reconstruction(self._filters, below)(alone).cpu().numpy()
        for (image, map_index), activation, projection in zip(some, activations, projections, strict=True):
            box = self._field.box(activation.row, activation.col)
            inside = box.clip(*projection.shape[1:]).slices()
            self._kept[map_index, batch.ids[image]] = FilterHit(
                activation.value,
                batch.ids[image],
                activation.row,
                activation.col,
                box,
                projection.transpose(1, 2, 0)[inside].copy(),
                batch.pictures[image][inside].copy(),
            )
