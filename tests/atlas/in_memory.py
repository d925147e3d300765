"""Records whose tiles lie in no file."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from backlight.atlas.headings import Heading
from backlight.atlas.records import FeatureMap, Hit, StoredImage, StoredTile, TileKey
from backlight.geometry import Axis, Box, ReceptiveField
from backlight.storage.tiles import encode_patch, encode_projection

FIELD = ReceptiveField(Axis(4, Fraction(2), 0), Axis(4, Fraction(2), 0))


HEADING = Heading("Net", "relu1", 8, 100, "deconvnet", FIELD, 9)


class InMemory:
    """Tiles that lie in no file."""

    path, n_channels, image_size = Path("nowhere"), 3, (8, 8)

    def image(self, image_id: int, key: TileKey) -> StoredImage:
        return StoredImage(image_id, f"{image_id}.png", None, (8, 8))

    def tile(self, key: TileKey) -> StoredTile:
        values = np.zeros((4, 4, 3), np.float32)
        values[1, 2] = 1
        return encode_patch(np.full((4, 4, 3), 100, np.uint8)), *encode_projection(values)

    def heading(self) -> Heading:
        return HEADING


def feature_map() -> FeatureMap:
    source = InMemory()
    hits = tuple(Hit(rank, 2.0, rank, 1, 1, Box(2, 2, 6, 6), source, (0, 3, rank)) for rank in range(2))
    return FeatureMap("relu1", 3, hits, 0.1, 2.0, 0.5, True, np.zeros(1, np.int64), None, None, None, source)
