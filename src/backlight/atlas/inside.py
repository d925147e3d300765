"""Tiles at the border of an image: moved into it where the atlas keeps the image whole."""

from __future__ import annotations

import numpy as np

from backlight.atlas.records import BandExample, Hit
from backlight.render import Tile, into_image


def inside(hit: Hit | BandExample, tile: Tile) -> Tile:
    """Return a hit's tile without anything outside of the image; as it is where the atlas keeps no whole images."""
    whole = None if tile.is_whole else hit.whole
    return tile if whole is None else into_image(tile, np.asarray(whole.convert("RGB")))
