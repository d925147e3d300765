"""Contents: an open atlas file and what it says it is; layers, feature maps and hits fetch from it what they show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from backlight.atlas import checks
from backlight.atlas.checksums import place
from backlight.atlas.damage import damaged, reading
from backlight.atlas.file import AtlasFile
from backlight.atlas.headings import Heading
from backlight.atlas.listed import AtlasImages
from backlight.atlas.opening import how_to_finish
from backlight.atlas.records import StoredImage, StoredTile, TileKey
from backlight.engines.identity import AtlasIdentity
from backlight.errors import AtlasError


@dataclass(frozen=True)
class Contents:
    """What is open.

    Attributes:
        file: The file.
        identity: What the atlas is of.
        images: The images that it lists.
    """

    file: AtlasFile
    identity: AtlasIdentity
    images: AtlasImages


class LayerTiles:
    """Where the records of a layer fetch their tiles and images: a `TileSource`.

    Args:
        contents: What is open.
        heading: Returns what stands above pictures of the layer.
    """

    def __init__(self, contents: Contents, heading: Callable[[], Heading]) -> None:
        self._contents, self._heading = contents, heading

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

    def image(self, image_id: int, key: TileKey) -> StoredImage:
        """Return the image of a hit.

        Raises:
            DamagedAtlasError: The atlas has no such image.
        """
        found = self._contents.images.get(image_id)
        if found is None:
            where = f"table hit (layer_id {key[0]}, channel {key[1]}, rank {key[2]})"
            raise damaged(self.path, where, f"there is no image {image_id}")
        return found

    def tile(self, key: TileKey) -> StoredTile:
        """Return the stored tile of a hit.

        Raises:
            AtlasError: The build has not made it yet.
            DamagedAtlasError: It is missing, or not what was written.
        """
        file = self._contents.file
        (rows,) = file.group("tile", *key)
        if not rows:
            if file.phase != "done":
                raise AtlasError(
                    f"hit {key[2]} of channel {key[1]} is not projected yet", **how_to_finish(self.path)
                )
            (rows,) = file.group("tile", *key)  # a build may just have written it
        if not rows:
            raise damaged(self.path, place("tile", key), "the projection is missing")
        with reading(self.path, place("tile", key)):
            return checks.tile(*rows[0])
