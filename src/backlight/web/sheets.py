"""Sheets: the pictures of many feature maps in one file, three by three tiles each."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backlight.atlas import AtlasLayer, BandExample, FeatureMap, Hit
from backlight.atlas.inside import inside
from backlight.geometry import Box, ReceptiveField
from backlight.render import (
    DEFAULT_SCALING,
    Scaling,
    Tile,
    draw_patch,
    draw_projection,
    margin_of,
    moved_inside,
    trimmed,
    window_of,
    without_margin,
)
from backlight.render.page import evenly_spread, grid_columns
from backlight.web import links
from backlight.web.contexts import Sprite

KINDS = ("projections", "patches")
SCALED = {"signed": "projections-signed", "magnitude": "projections-magnitude"}
"""Kinds of sheets that show projections in other scales than the default, by scale: loaded when they are asked for."""

LIGHT, BANDS = "light", ("band-projections", "band-patches")
TILE, SIDE = 96, 3
"""Pixels of a tile, and tiles along a side of a map's block: the nine strongest hits."""

COLUMNS = 8
LIGHT_SIDE, BAND_SIDE, MOST_BANDS = 32, 64, 24
"""Pixels of a map's light, and of a band's example; examples of a map that are shown at most, the strongest."""

_DIMMED = 165
"""How far a whole image is dimmed where the map is silent, of 255."""

_QUALITY, _SCALED_QUALITY, _SAMPLED = 70, 50, 192
_GREY, _PAPER = (128, 128, 128), (244, 242, 238)


@dataclass(frozen=True)
class Sheet:
    """Where the pictures of a page of feature maps are.

    Attributes:
        slug: The layer's slug.
        page: The page, from 1.
        count: Number of maps on it.
        version: Of its pictures (`links.dated`); empty for none.
    """

    slug: str
    page: int
    count: int
    version: str = ""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        block = SIDE * TILE
        return min(self.count, COLUMNS) * block, -(-self.count // COLUMNS) * block

    def href(self, kind: str) -> str:
        """Return its address as pages refer to it."""
        return links.dated(links.sheet(self.slug, self.page, kind), self.version)

    def block(self, kind: str, place: int) -> Sprite:
        """Return the nine pictures of the map at a place of the page."""
        row, col = divmod(place, COLUMNS)
        return self._sprite(kind, col * SIDE * TILE, row * SIDE * TILE, SIDE * TILE)

    def tile(self, kind: str, place: int, rank: int) -> Sprite:
        """Return the picture of a hit, by its rank from 0, of the map at a place of the page."""
        block, (row, col) = self.block(kind, place), divmod(rank, SIDE)
        return self._sprite(kind, block.left + col * TILE, block.top + row * TILE, TILE)

    def light(self, place: int, rank: int) -> Sprite:
        """Return where a map is active in the whole image of a hit, by its rank from 0."""
        (row, col), (down, right) = divmod(place, COLUMNS), divmod(rank, SIDE)
        width, height = (size * LIGHT_SIDE // TILE for size in self.size)
        left, top = (SIDE * col + right) * LIGHT_SIDE, (SIDE * row + down) * LIGHT_SIDE
        return Sprite(self.href(LIGHT), width, height, left, top, LIGHT_SIDE)

    def band(self, kind: str, place: int, at: int) -> Sprite:
        """Return the picture of an example of a band, by its place among those shown."""
        size = MOST_BANDS * BAND_SIDE, self.count * BAND_SIDE
        return Sprite(self.href(kind), *size, at * BAND_SIDE, place * BAND_SIDE, BAND_SIDE)

    def _sprite(self, kind: str, left: int, top: int, side: int) -> Sprite:
        return Sprite(self.href(kind), *self.size, left, top, side)


def shown_hits(feature_map: FeatureMap) -> tuple[Hit, ...]:
    """Return the hits that pages show: the nine strongest."""
    return feature_map.hits[: SIDE * SIDE]


def shown_bands(feature_map: FeatureMap) -> tuple[BandExample, ...]:
    """Return the examples of bands that pages show: those that were projected, the strongest."""
    return tuple(own for own in feature_map.bands if own.is_projected)[-MOST_BANDS:]


def whole_place(place: int, n_images: int, size: tuple[int, int], version: str = "") -> Sprite:
    """Return where the whole image at a place among the hits' images is; size is its height and width."""
    at, side = place % links.PER_WHOLES, max(size)
    count = min(links.PER_WHOLES, n_images - place + at)
    columns = grid_columns(count)
    row, col = divmod(at, columns)
    width, height = columns * side, -(-count // columns) * side
    href = links.dated(links.wholes(place // links.PER_WHOLES + 1), version)
    return Sprite(href, width, height, col * side, row * side, side)


def draw_wholes(images: Sequence[Image.Image | None], size: tuple[int, int]) -> bytes:
    """Return whole images, as WebP, in the places of `whole_place`; one that is missing stays blank."""
    places = [whole_place(i, len(images), size) for i in range(len(images))]
    page = Image.new("RGB", (places[0].width, places[0].height), _PAPER)
    for image, place in zip(images, places, strict=True):
        if image is not None:
            page.paste(image, (place.left, place.top))
    return webp(page)


def draw_light(layer: AtlasLayer, channels: Sequence[int], size: tuple[int, int]) -> bytes:
    """Return, as WebP, black that covers what is not active in the whole image of each hit of feature maps.

    Args:
        layer: The layer.
        channels: The maps.
        size: Height and width of an image.
    """
    sheet = Sheet("", 1, len(channels))
    first = sheet.light(0, 0)
    cover, own = np.zeros((first.height, first.width), np.uint8), middles(layer)
    for place, channel in enumerate(channels):
        for rank, hit in enumerate(shown_hits(layer[channel])):
            active = hit.activation_map
            if active is None:
                continue
            where = sheet.light(place, rank)
            rows, cols = slice(where.top, where.top + LIGHT_SIDE), slice(where.left, where.left + LIGHT_SIDE)
            cover[rows, cols] = dimming(active, own, size)
    return draw_dimming(cover)


def dimming(
    active: NDArray[np.uint8], middles: Sequence[NDArray[np.float64]], size: tuple[int, int]
) -> NDArray[np.uint8]:
    """Return how far to dim an image where a map is silent, 0 to 255, as a square of `LIGHT_SIDE`.

    Args:
        active: (h, w) the map's activations, 255 for the strongest.
        middles: Where the fields of its rows and columns have their middle.
        size: Height and width of the image.
    """
    found = _DIMMED - _over_image(active, middles, size) * (_DIMMED / 255)
    return found.astype(np.uint8)


def draw_dimming(cover: NDArray[np.uint8]) -> bytes:
    """Return black that covers so much, as WebP."""
    black = np.zeros((*cover.shape, 4), np.uint8)
    black[..., 3] = cover
    out = io.BytesIO()
    Image.fromarray(black).save(out, "WEBP", quality=60, alpha_quality=80, method=2)
    return out.getvalue()


def middles(layer: AtlasLayer) -> list[NDArray[np.float64]]:
    """Return where the middle of the field of each unit of a layer lies in the image: rows and columns."""
    field = layer.receptive_field
    if field is None:
        return []
    axes = zip((field.rows, field.cols), layer.shape[1:], strict=True)
    return [np.array([sum(axis.span(i)) / 2 for i in range(count)]) for axis, count in axes]


def _over_image(
    active: NDArray[np.uint8], middles: Sequence[NDArray[np.float64]], size: tuple[int, int]
) -> NDArray[np.float64]:
    """Return activations (h, w) as they lie over an image of size (height, width): each at the middle of its field."""
    found = active.astype(np.float64)
    for own, length in zip(middles, size, strict=True):
        wanted = (np.arange(LIGHT_SIDE) + 0.5) * length / LIGHT_SIDE
        # beyond the outermost middles, the value there
        found = np.stack([np.interp(wanted, own, column) for column in found.T])
    return found


def draw_bands(layer: AtlasLayer, channels: Sequence[int], kind: str, own: int) -> bytes:
    """Return the examples of bands of feature maps, a row for each, as WebP; kind is one of `BANDS`."""
    sheet = Sheet("", 1, len(channels))
    first = sheet.band(kind, 0, 0)
    page = Image.new("RGB", (first.width, first.height), _PAPER)
    for place, channel in enumerate(channels):
        for at, example in enumerate(shown_bands(layer[channel])):
            where = sheet.band(kind, place, at)
            of = "projections" if kind == BANDS[0] else "patches"
            picture = _square(_shown(example, of, own), of)
            page.paste(picture.resize((BAND_SIDE, BAND_SIDE)), (where.left, where.top))
    return webp(page)


def webp(page: Image.Image, quality: int = _QUALITY) -> bytes:
    """Return a picture as WebP."""
    out = io.BytesIO()
    page.save(out, "WEBP", quality=quality, method=2)
    return out.getvalue()


def margin(layer: AtlasLayer) -> int:
    """Return how many pixels are cut from each side of a layer's tiles, by a sample of its hits."""
    if layer.receptive_field is None:
        return 0
    maps = [layer[channel] for channel in evenly_spread(layer.channels, _SAMPLED // (SIDE * SIDE))]
    return margin_of([hit.projection_tile for own in maps for hit in shown_hits(own)])


def tile_size(field: ReceptiveField | None, own: int, image_size: tuple[int, int]) -> tuple[int, int]:
    """Return the height and width of what tiles show of a layer's field (None: the whole image), without a margin."""
    height, width = image_size
    if field is None:
        return height, width
    rows, cols = (size - 2 * own for size in field.size)
    return min(rows, height), min(cols, width)


def draw_sheet(layer: Mapping[int, FeatureMap], channels: Sequence[int], kind: str, own: int) -> bytes:
    """Return the pictures of feature maps of a layer, as WebP.

    Args:
        layer: The layer, or such of its maps as are drawn.
        channels: The maps, as many as a page has.
        kind: One of `KINDS`, or of the kinds of `SCALED`.
        own: The margin of the layer's tiles.
    """
    sheet = Sheet("", 1, len(channels))
    page = Image.new("RGB", sheet.size, _PAPER)
    for place, channel in enumerate(channels):
        for rank, hit in enumerate(shown_hits(layer[channel])):
            where = sheet.tile(kind, place, rank)
            page.paste(_square(_shown(hit, kind, own), kind), (where.left, where.top))
    return webp(page, _SCALED_QUALITY if kind in SCALED.values() else _QUALITY)


def _shown(hit: Hit | BandExample, kind: str, own: int) -> Tile:
    """Return the tile of a hit without a margin, moved into the image where it is kept whole; only a kind of it."""
    tile = hit.patch_tile if kind == "patches" else hit.projection_tile
    assert tile is not None  # only examples that were projected are shown
    return inside(hit, trimmed(tile, own, moved=True))


def shown_box(box: Box, size: tuple[int, int], own: int, has_whole: bool) -> tuple[float, float, float]:
    """Return what a square picture of a hit shows of its image: top, left and side, in pixels of the image.

    Args:
        box: What the unit sees.
        size: Height and width of the image.
        own: The margin of the layer's tiles.
        has_whole: Whether the atlas keeps the image whole, so that the picture lies inside of it.
    """
    shown = without_margin(box, size, own, moved=True) if own else box
    window = window_of(moved_inside(shown, size) if has_whole else shown, size)
    side = float(max(window.height, window.width))
    return window.top - (side - window.height) / 2, window.left - (side - window.width) / 2, side


def _square(shown: Tile, kind: str) -> Image.Image:
    drawn = _drawn(shown, kind)
    if drawn.size == (TILE, TILE):
        return drawn
    square = Image.new("RGB", (TILE, TILE), _PAPER if kind == "patches" else _GREY)
    square.paste(drawn, ((TILE - drawn.width) // 2, (TILE - drawn.height) // 2))
    return square


def _drawn(shown: Tile, kind: str) -> Image.Image:
    if kind == "patches":
        return draw_patch(shown, TILE)
    if kind == SCALED["magnitude"]:
        # (h, w, c) -> (h, w, 1): whatever its sign or colour, what is stronger is brighter
        magnitude = np.abs(shown.projection).max(2, keepdims=True)
        return draw_projection(replace(shown, projection=magnitude), TILE, Scaling.ROOT)
    scaling = Scaling.SYMMETRIC if kind == SCALED["signed"] else DEFAULT_SCALING
    return draw_projection(shown, TILE, scaling)
