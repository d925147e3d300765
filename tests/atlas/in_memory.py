"""Records whose tiles lie in no file."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from backlight.atlas.headings import Heading
from backlight.atlas.records import BandExample, FeatureMap, Hit, StoredImage, StoredTile, TileKey
from backlight.geometry import Axis, Box, ReceptiveField
from backlight.storage.tiles import encode_activation, encode_patch, encode_projection

FIELD = ReceptiveField(Axis(4, Fraction(2), 0), Axis(4, Fraction(2), 0))


HEADING = Heading("Net", "relu1", 8, 100, "deconvnet", FIELD, 9)


class InMemory:
    """Tiles that lie in no file."""

    path, n_channels, image_size = Path("nowhere"), 3, (8, 8)

    def image(self, image_id: int, key: TileKey, kind: str = "tile") -> StoredImage:
        return StoredImage(image_id, f"{image_id}.png", None, (8, 8))

    def tile_place(self, key: TileKey) -> str:
        return "memory"

    def tile(self, key: TileKey) -> StoredTile:
        values = np.zeros((4, 4, 3), np.float32)
        values[1, 2] = 1
        return encode_patch(np.full((4, 4, 3), 100, np.uint8)), *encode_projection(values)

    def whole(self, image_id: int, kind: str = "tile") -> Image.Image | None:
        return Image.new("RGB", (8, 8), (image_id, 0, 0)) if image_id < 2 else None

    def activation(self, key: TileKey) -> bytes | None:
        return encode_activation(np.array([[0, 128], [255, 3]], np.uint8)) if key[2] == 0 else None

    def bands(self, channel: int) -> tuple[BandExample, ...]:
        box = Box(2, 2, 6, 6)
        return tuple(
            BandExample(b, float(b), b + 1.0, b + 0.5, b, 1, 1, box, self, (0, channel, b)) for b in (1, 2)
        )

    def band_tile(self, key: TileKey) -> StoredTile | None:
        return self.tile(key) if key[2] == 1 else None

    def heading(self) -> Heading:
        return HEADING


def feature_map() -> FeatureMap:
    source = InMemory()
    hits = tuple(
        Hit(rank, 2.0, rank, 1, 1, Box(2, 2, 6, 6), source, (0, 3, rank), (2, 2)) for rank in range(2)
    )
    return FeatureMap("relu1", 3, hits, 0.1, 2.0, 0.5, True, np.zeros(1, np.int64), None, None, None, source)
