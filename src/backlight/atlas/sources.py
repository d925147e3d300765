"""Where the records of an atlas fetch what is large; and the examples of bands, which are records of their own."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backlight.atlas.checksums import place
from backlight.atlas.damage import reading
from backlight.atlas.headings import Heading
from backlight.geometry import Box
from backlight.render import Tile, scale
from backlight.storage.tiles import decode_picture, decode_projection

TileKey = tuple[int, int, int]
"""Layer id, channel and rank of a hit, or bin of an example of a band."""

StoredTile = tuple[bytes, bytes, float]
"""The patch and the projection of a hit as WebP, and the projection's scale."""


@dataclass(frozen=True)
class StoredImage:
    """An image of the set.

    Attributes:
        id: Its id, as hits name it.
        path: Where it lay, relative to the set.
        label: Its class, where the set knew one.
        size: Height and width as it was, before preprocessing.
    """

    id: int
    path: str
    label: str | None
    size: tuple[int, int]


@runtime_checkable
class TileSource(Protocol):
    """Where the records of a layer fetch what they do not hold: an open atlas file."""

    @property
    def path(self) -> Path:
        """The atlas's file, for errors."""

    @property
    def n_channels(self) -> int:
        """Channels of a projection, 1 or 3."""

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of a preprocessed image."""

    def image(self, image_id: int, key: TileKey, kind: str = "tile") -> StoredImage:
        """Return the image of a hit, or of an example of a band (kind `band_tile`)."""

    def whole(self, image_id: int, kind: str = "tile") -> Image.Image | None:
        """Return the whole image of a hit, or of an example of a band (kind `band_tile`), as the network saw it (RGB).

        None where the atlas does not keep it.
        """

    def tile_place(self, key: TileKey) -> str:
        """Return where the tile of a hit is kept, in words, for errors."""

    def tile(self, key: TileKey) -> StoredTile:
        """Return the stored tile of a hit.

        Raises:
            AtlasError: The build has not made it yet.
        """

    def activation(self, key: TileKey) -> bytes | None:
        """Return the stored activations of a hit's map; None where the atlas does not keep them."""

    def bands(self, channel: int) -> tuple[BandExample, ...]:
        """Return the examples of a map's bands."""

    def band_tile(self, key: TileKey) -> StoredTile | None:
        """Return the stored tile of an example; None where it was not projected."""

    def heading(self) -> Heading:
        """Return what stands above pictures of the layer."""


@dataclass(frozen=True)
class BandExample:
    """An image of one bin of a feature map's histogram: as good as drawn at random from those in it.

    Attributes:
        bin: The bin, from 1: bin 0, "not active", has none.
        low: Values of the bin are above this.
        high: Values of the bin are at most this; infinite for the last bin.
        value: The image's strongest activation of the map.
        image_id: The image.
        row: Row of the unit; None for a fully connected one.
        col: Column of the unit.
        box: What the unit sees of the preprocessed image, as that of a `Hit`.
    """

    bin: int
    low: float
    high: float
    value: float
    image_id: int
    row: int | None
    col: int | None
    box: Box
    _source: TileSource = field(repr=False, compare=False)
    _key: TileKey = field(repr=False, compare=False)

    @property
    def image(self) -> StoredImage:
        """The image."""
        return self._source.image(self.image_id, self._key, "band_tile")

    @property
    def label(self) -> str | None:
        """The image's class, where the set knew one."""
        return self.image.label

    @property
    def whole(self) -> Image.Image | None:
        """The whole image as the network saw it (RGB); None where the atlas does not keep it."""
        return self._source.whole(self.image_id, "band_tile")

    @property
    def is_projected(self) -> bool:
        """Whether it was projected, so that it has a tile."""
        return self._stored is not None

    @property
    def patch(self) -> Image.Image | None:
        """The part of the preprocessed image inside the box (RGB); None where it was not projected."""
        if self._stored is None:
            return None
        with reading(self._source.path, place("band_tile", self._key)):
            return decode_picture(self._stored[0], self._size)

    @property
    def projection_values(self) -> NDArray[np.float32] | None:
        """The projection inside the box, (h, w, c), in the scale of the network's input; None where there is none."""
        if self._stored is None:
            return None
        _, codes, scale = self._stored
        with reading(self._source.path, place("band_tile", self._key)):
            return decode_projection(codes, scale, self._source.n_channels, self._size)

    @property
    def projection(self) -> Image.Image | None:
        """The projection as a picture: grey is zero; None where it was not projected."""
        values = self.projection_values
        return None if values is None else Image.fromarray(scale(values))

    @property
    def tile(self) -> Tile | None:
        """The patch and the projection with their place in the image; None where it was not projected."""
        patch, values = self.patch, self.projection_values
        if patch is None or values is None:
            return None
        return Tile(np.asarray(patch), values, self.box, self._source.image_size)

    @property
    def patch_tile(self) -> Tile | None:
        """The tile with zeros for its projection, which is not decoded; None where it was not projected."""
        patch = self.patch
        return None if patch is None else patch_only(patch, self.box, self._source)

    @property
    def projection_tile(self) -> Tile | None:
        """The tile with black for its patch, which is not decoded; None where it was not projected."""
        values = self.projection_values
        return None if values is None else projection_only(values, self.box, self._source)

    @property
    def _size(self) -> tuple[int, int]:
        """Height and width of the part of the box inside the image, which the tile shows."""
        inside = self.box.clip(*self._source.image_size)
        return inside.height, inside.width

    @cached_property
    def _stored(self) -> StoredTile | None:
        return self._source.band_tile(self._key)


def patch_only(patch: Image.Image, box: Box, source: TileSource) -> Tile:
    """Return a tile with zeros for its projection."""
    pixels = np.asarray(patch)
    return Tile(pixels, np.zeros((*pixels.shape[:2], source.n_channels), np.float32), box, source.image_size)


def projection_only(values: NDArray[np.float32], box: Box, source: TileSource) -> Tile:
    """Return a tile with black for its patch."""
    return Tile(np.zeros((*values.shape[:2], 3), np.uint8), values, box, source.image_size)
