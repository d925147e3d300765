"""Sheets: the pictures of many feature maps in one file, three by three tiles each."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from backlight.atlas import AtlasLayer, FeatureMap, Hit
from backlight.render import Tile, central, cut, draw_patch, draw_projection, margin_of
from backlight.web import links
from backlight.web.contexts import Sprite

KINDS = ("projections", "patches")
TILE, SIDE = 96, 3
"""Pixels of a tile, and tiles along a side of a map's block: the nine strongest hits."""

COLUMNS = 8
_QUALITY, _SAMPLED = 70, 192
_GREY, _PAPER = (128, 128, 128), (244, 242, 238)


@dataclass(frozen=True)
class Sheet:
    """Where the pictures of a page of feature maps are.

    Attributes:
        slug: The layer's slug.
        page: The page, from 1.
        count: Number of maps on it.
    """

    slug: str
    page: int
    count: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        block = SIDE * TILE
        return min(self.count, COLUMNS) * block, -(-self.count // COLUMNS) * block

    def block(self, kind: str, place: int) -> Sprite:
        """Return the nine pictures of the map at a place of the page."""
        row, col = divmod(place, COLUMNS)
        return self._sprite(kind, col * SIDE * TILE, row * SIDE * TILE, SIDE * TILE)

    def tile(self, kind: str, place: int, rank: int) -> Sprite:
        """Return the picture of a hit, by its rank from 0, of the map at a place of the page."""
        block, (row, col) = self.block(kind, place), divmod(rank, SIDE)
        return self._sprite(kind, block.left + col * TILE, block.top + row * TILE, TILE)

    def _sprite(self, kind: str, left: int, top: int, side: int) -> Sprite:
        return Sprite(links.sheet(self.slug, self.page, kind), *self.size, left, top, side)


def shown_hits(feature_map: FeatureMap) -> tuple[Hit, ...]:
    """Return the hits that pages show: the nine strongest."""
    return feature_map.hits[: SIDE * SIDE]


def margin(layer: AtlasLayer) -> int:
    """Return how many pixels are cut from each side of a layer's tiles, by a sample of its hits."""
    if layer.receptive_field is None:
        return 0
    maps = [layer[channel] for channel in _spread(layer.channels, _SAMPLED // (SIDE * SIDE))]
    return margin_of([hit.tile for own in maps for hit in shown_hits(own)])


def tile_size(layer: AtlasLayer, own: int, image_size: tuple[int, int]) -> tuple[int, int]:
    """Return the height and width of what a layer's tiles show, without a margin."""
    height, width = image_size
    if layer.receptive_field is None:
        return height, width
    rows, cols = (size - 2 * own for size in layer.receptive_field.size)
    return min(rows, height), min(cols, width)


def draw_sheet(layer: AtlasLayer, channels: Sequence[int], kind: str, own: int) -> bytes:
    """Return the pictures of feature maps of a layer, as WebP.

    Args:
        layer: The layer.
        channels: The maps, as many as a page has.
        kind: One of `KINDS`.
        own: The margin of the layer's tiles.
    """
    sheet = Sheet("", 1, len(channels))
    page = Image.new("RGB", sheet.size, _PAPER)
    for place, channel in enumerate(channels):
        for rank, hit in enumerate(shown_hits(layer[channel])):
            where = sheet.tile(kind, place, rank)
            page.paste(_square(hit.tile, own, kind), (where.left, where.top))
    out = io.BytesIO()
    page.save(out, "WEBP", quality=_QUALITY, method=2)
    return out.getvalue()


def _square(tile: Tile, own: int, kind: str) -> Image.Image:
    shown = cut(tile, central(tile, own, moved=True)) if own else tile
    drawn = draw_projection(shown, TILE) if kind == "projections" else draw_patch(shown, TILE)
    if drawn.size == (TILE, TILE):
        return drawn
    square = Image.new("RGB", (TILE, TILE), _GREY if kind == "projections" else _PAPER)
    square.paste(drawn, ((TILE - drawn.width) // 2, (TILE - drawn.height) // 2))
    return square


def _spread(channels: Sequence[int], count: int) -> list[int]:
    """Return so many channels, evenly spread."""
    if len(channels) <= count:
        return list(channels)
    return [channels[i] for i in np.linspace(0, len(channels) - 1, count).round().astype(int)]
