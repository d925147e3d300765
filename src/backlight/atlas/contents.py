"""Contents: an open atlas file and what it says it is; layers, feature maps and hits fetch from it what they show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from backlight.atlas import checks
from backlight.atlas.checksums import place
from backlight.atlas.damage import damaged, reading
from backlight.atlas.file import AtlasFile
from backlight.atlas.headings import Heading
from backlight.atlas.listed import AtlasImages
from backlight.atlas.opening import how_to_finish
from backlight.atlas.sources import BandExample, StoredImage, StoredTile, TileKey
from backlight.engines.identity import AtlasIdentity
from backlight.errors import AtlasError


@dataclass(frozen=True)
class Contents:
    """What is open.

    Attributes:
        file: The file.
        identity: What the atlas is of.
        images: The images that it lists.
        rule_layers: By layer id, what stands for a layer under other rules than the atlas's own, where its hits are
            shown as those project them; None for the atlas's own.
        classes: The names of the classes, in their order; none where none were given.
    """

    file: AtlasFile
    identity: AtlasIdentity
    images: AtlasImages
    classes: tuple[str, ...] = ()
    rule_layers: Mapping[int, int] | None = None

    def tile_group(self, key: TileKey) -> tuple[str, TileKey]:
        """Return the kind and the key of the rows that keep the tile of a hit."""
        if self.rule_layers is None:
            return "tile", key
        return "rule_tile", (self.rule_layers[key[0]], *key[1:])


class LayerTiles:
    """Where the records of a layer fetch their tiles and images: a `TileSource`.

    Args:
        contents: What is open.
        heading: Returns what stands above pictures of the layer.
        bands: Returns the examples of a feature map's bands.
    """

    def __init__(
        self,
        contents: Contents,
        heading: Callable[[], Heading],
        bands: Callable[[int], tuple[BandExample, ...]],
    ) -> None:
        self._contents, self._heading, self._bands = contents, heading, bands

    @property
    def path(self) -> Path:
        """The atlas's file."""
        return self._contents.file.path

    @property
    def n_channels(self) -> int:
        """Channels of a projection, 1 or 3."""
        return self._contents.identity.model.input_shape[0]

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of a preprocessed image."""
        return self._contents.identity.preprocessing.crop

    def heading(self) -> Heading:
        """Return what stands above pictures of the layer."""
        return self._heading()

    def bands(self, channel: int) -> tuple[BandExample, ...]:
        """Return the examples of a map's bands."""
        return self._bands(channel)

    def image(self, image_id: int, key: TileKey, kind: str = "tile") -> StoredImage:
        """Return the image of a hit, or of an example of a band (kind `band_tile`).

        Raises:
            DamagedAtlasError: The atlas has no such image.
        """
        found = self._contents.images.get(image_id)
        if found is None:
            raise damaged(self.path, place(kind, key), f"there is no image {image_id}")
        return found

    def whole(self, image_id: int, kind: str = "tile") -> Image.Image | None:
        """Return the whole image of a hit, or of an example of a band; None where the atlas does not keep it."""
        parts = ("wholes",) if kind == "tile" else ("wholes", "bands")
        images, file = self._contents.images, self._contents.file
        found = images.whole(image_id)
        if found is None and all(map(file.has_all, parts)):
            found = images.whole(image_id)  # a build may just have written it
            if found is None:
                raise damaged(self.path, place("picture", (image_id,)), "the picture is missing")
        return found

    def activation(self, key: TileKey) -> bytes | None:
        """Return the stored activations of a hit's map; None where the atlas does not keep them."""
        rows = self._optional("activation", key, "wholes", "the activations are missing")
        with reading(self.path, place("activation", key)):
            return checks.blob(rows[0][0], "activations") if rows else None

    def band_tile(self, key: TileKey) -> StoredTile | None:
        """Return the stored tile of an example; None where it was not projected."""
        rows = self._optional("band_tile", key, "bands", "the projection is missing")
        with reading(self.path, place("band_tile", key)):
            return checks.tile(*rows[0]) if rows else None

    def _optional(self, kind: str, key: TileKey, part: str, missing: str) -> list[tuple[Any, ...]]:
        """Return the rows of a group that only an atlas with a part has; that none is there is damage then."""
        file = self._contents.file
        if not file.has_bands:
            return []
        (rows,) = file.group(kind, *key)
        if not rows and file.has_all(part):
            (rows,) = file.group(kind, *key)  # a build may just have written it
            if not rows:
                raise damaged(self.path, place(kind, key), missing)
        return rows

    def tile_place(self, key: TileKey) -> str:
        """Return where the tile of a hit is kept, in words."""
        return place(*self._contents.tile_group(key))

    def tile(self, key: TileKey) -> StoredTile:
        """Return the stored tile of a hit.

        Raises:
            AtlasError: The build has not made it yet.
            DamagedAtlasError: It is missing, or not what was written.
        """
        file, (kind, own) = self._contents.file, self._contents.tile_group(key)
        (rows,) = file.group(kind, *own)
        if not rows:
            if file.phase != "done":
                raise AtlasError(
                    f"hit {key[2]} of channel {key[1]} is not projected yet", **how_to_finish(self.path)
                )
            (rows,) = file.group(kind, *own)  # a build may just have written it
        if not rows:
            raise damaged(self.path, place(kind, own), "the projection is missing")
        with reading(self.path, place(kind, own)):
            return checks.tile(*rows[0])
