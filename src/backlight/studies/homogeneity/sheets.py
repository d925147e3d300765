"""Sheets: the hits of some feature maps as arrays of small pictures, for the figure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backlight.atlas import AtlasLayer, Hit
from backlight.render import Tile, draw_patch, draw_projection, zoom

PICTURE_SIDE = 80
"""Rows and columns of each small picture, `side` below."""


def draw_hits(layer: AtlasLayer, maps: Sequence[Sequence[Hit]]) -> NDArray[np.uint8]:
    """Return the projections and patches of hits, as `Atlas.figure` shows them.

    Args:
        layer: The layer.
        maps: The hits of each map.

    Returns:
        (maps, 2, most hits of a map, side, side, 3); white where a map has fewer.
    """
    # the tiles of all maps in one list, so that all are cut alike; below they are taken from it in the same order
    tiles = [hit.tile for hits in maps for hit in hits]
    shown = iter(tiles if layer.receptive_field is None else zoom(tiles, moved=True))
    most = max(map(len, maps), default=0)
    result = np.full((len(maps), 2, most, PICTURE_SIDE, PICTURE_SIDE, 3), 255, np.uint8)
    for i, hits in enumerate(maps):
        for rank in range(len(hits)):
            tile: Tile = next(shown)
            for kind, draw in enumerate((draw_projection, draw_patch)):
                result[i, kind, rank] = _squared(draw(tile, PICTURE_SIDE))
    return result


def _squared(picture: Image.Image) -> NDArray[np.uint8]:
    """Return a picture in the middle of a white square."""
    sheet = Image.new("RGB", (PICTURE_SIDE, PICTURE_SIDE), "white")
    sheet.paste(picture, ((PICTURE_SIDE - picture.width) // 2, (PICTURE_SIDE - picture.height) // 2))
    return np.asarray(sheet)
