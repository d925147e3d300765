"""Tiles: a projection and the image patch that caused it, on one receptive field."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped, UInt8
from PIL import Image

from backlight.errors import BadInputError
from backlight.geometry import Box
from backlight.render.brightness import scale
from backlight.render.scaling import DEFAULT_SCALING, Scaling

_HATCH_PERIOD, _HATCH_GROUND, _HATCH_LINE = 8, 240, 206
_SMALL, _SMALL_SIZE, _SIZE = 36, 72, 112
_ARM, _CROSS, _CROSS_EDGE = 4, (255, 255, 255), (0, 0, 0)


@dataclass(frozen=True, eq=False)
class Tile:
    """One hit: what the unit saw, and its projection.

    Attributes:
        patch: (h, w, 3) uint8, the pixels of the preprocessed image inside the receptive field.
        projection: (h, w, c) the projection there; signed, 1 or 3 channels.
        box: The receptive field in the preprocessed image; may leave it.
        image_size: Height and width of the preprocessed image.
        unit: Row and column of the middle of the unit's receptive field, where it is not that of the box: marked by a
            small cross.

    Raises:
        BadInputError: Patch or projection do not hold exactly the part of the box that lies inside the image.
    """

    patch: UInt8[np.ndarray, "h w 3"]
    projection: Float[np.ndarray, "_ _ c"]
    box: Box
    image_size: tuple[int, int]
    unit: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        expected = (self.inside.height, self.inside.width)
        for name, array, channels in (("patch", self.patch, (3,)), ("projection", self.projection, (1, 3))):
            if array.ndim != 3 or array.shape[:2] != expected or array.shape[2] not in channels:
                raise BadInputError(
                    f"the {name} of a tile covers the part of its box inside the image, "
                    f"{expected} with {' or '.join(map(str, channels))} channels, got {array.shape}"
                )

    @property
    def inside(self) -> Box:
        """The part of the box that lies inside the image."""
        return self.box.clip(*self.image_size)

    @property
    def window(self) -> Box:
        """What is drawn: the box; along an axis on which it is longer than the image, the image instead."""
        return window_of(self.box, self.image_size)

    @property
    def is_whole(self) -> bool:
        """Whether nothing of the window lies outside of the image."""
        return self.inside == self.window


def pad(tile: Tile, inside: Shaped[np.ndarray, "h w c"]) -> Shaped[np.ndarray, "full_h full_w c"]:
    """Return an array over the inside of a tile, padded with zeros to the whole receptive field.

    Args:
        tile: The tile.
        inside: (h, w, c) as its patch or projection.

    Returns:
        (box height, box width, c), of the same dtype; pixel (0, 0) is the box's top left.

    Example:
        >>> tile = Tile(np.ones((2, 3, 3), np.uint8), np.ones((2, 3, 1)), Box(-1, 0, 2, 3), (8, 8))
        >>> pad(tile, tile.projection)[..., 0].sum(1)
        array([0., 3., 3.])
    """
    box, kept = tile.box, tile.inside
    result = np.zeros((box.height, box.width, inside.shape[2]), inside.dtype)
    result[kept.slices(box.top, box.left)] = inside  # the box may begin at negative rows and columns
    return result


def draw_patch(tile: Tile, size: int) -> Image.Image:
    """Return the patch on its window, hatched outside of the image, a cross at its unit; its longer side is size.

    Example:
        >>> tile = Tile(np.zeros((2, 3, 3), np.uint8), np.zeros((2, 3, 3)), Box(-1, 0, 2, 3), (8, 8))
        >>> draw_patch(tile, 72).size
        (72, 72)
    """
    picture = _draw(tile, tile.patch, size)
    if tile.unit is not None:
        window = tile.window
        row = round((tile.unit[0] + 0.5 - window.top) * picture.height / window.height)
        col = round((tile.unit[1] + 0.5 - window.left) * picture.width / window.width)
        _cross(picture, row, col)
    return picture


def draw_projection(tile: Tile, size: int, scaling: Scaling | str = DEFAULT_SCALING) -> Image.Image:
    """Return the projection on its window, scaled by itself, hatched outside of the image.

    Args:
        tile: The tile.
        size: Length of the longer side.
        scaling: How values become colours.

    Example:
        >>> tile = Tile(np.zeros((2, 3, 3), np.uint8), np.zeros((2, 3, 3)), Box(-1, 0, 2, 3), (8, 8))
        >>> draw_projection(tile, 72).getpixel((36, 36))
        (128, 128, 128)
    """
    return _draw(tile, scale(tile.projection, scaling), size)


def draw_values(
    values: Float[np.ndarray, "h w c"], size: int, scaling: Scaling | str = DEFAULT_SCALING
) -> Image.Image:
    """Return a projection without a patch, scaled by itself; its longer side is size.

    Example:
        >>> draw_values(np.zeros((2, 3, 3)), 72).size
        (72, 48)
    """
    height, width = values.shape[:2]
    return resize(scale(values, scaling), *fit(height, width, size), is_small(height, width))


def display_size(height: int, width: int) -> int:
    """Return a good length for the longer side of a tile of height x width pixels.

    *Convention*: up to 36 pixels the smallest whole multiple that reaches 72, so that each pixel is a square;
    above, 112.

    Example:
        >>> [display_size(n, n) for n in (7, 19, 75, 224)]
        [77, 76, 112, 112]
    """
    longer = max(height, width, 1)
    # -(-a // b) rounds up
    return longer * -(-_SMALL_SIZE // longer) if is_small(height, width) else _SIZE


def is_small(height: int, width: int) -> bool:
    """Return whether a receptive field is so small that its pixels are drawn as squares."""
    return max(height, width) <= _SMALL


def fit(height: int, width: int, size: int) -> tuple[int, int]:
    """Return height and width in the same proportion with the longer one equal to size, neither below 1."""
    longer = max(height, width, 1)
    return max(1, round(height * size / longer)), max(1, round(width * size / longer))


def resize(picture: UInt8[np.ndarray, "h w 3"], height: int, width: int, squares: bool) -> Image.Image:
    """Return a picture at another size: with a square for each pixel, else smoothly (Lanczos)."""
    method = Image.Resampling.NEAREST if squares else Image.Resampling.LANCZOS
    return Image.fromarray(picture).resize((width, height), method)


def hatch(height: int, width: int) -> Image.Image:
    """Return the marking of what lies outside of an image: light grey with falling lines."""
    rows, cols = np.ogrid[:height, :width]
    # the same along every falling diagonal: (height, 1) and (1, width) give (height, width)
    distance = (rows - cols) % _HATCH_PERIOD
    grey = np.where(distance < 1, _HATCH_LINE, _HATCH_GROUND).astype(np.uint8)
    return Image.fromarray(np.repeat(grey[..., None], 3, axis=2))


def _draw(tile: Tile, inside: UInt8[np.ndarray, "h w 3"], size: int) -> Image.Image:
    window, box = tile.window, tile.inside
    height, width = fit(window.height, window.width, size)
    picture = Image.new("RGB", (width, height)) if tile.is_whole else hatch(height, width)
    # Where the inside lies in the picture: both edges are rounded, rather than one edge and a size, so that nothing
    # reaches beyond the window. A narrow inside may round to nothing.
    top, bottom = (round((row - window.top) * height / window.height) for row in (box.top, box.bottom))
    left, right = (round((col - window.left) * width / window.width) for col in (box.left, box.right))
    if top < bottom and left < right:
        squares = is_small(window.height, window.width)
        picture.paste(resize(inside, bottom - top, right - left, squares), (left, top))
    return picture


def _cross(picture: Image.Image, row: int, col: int) -> None:
    """Draw a small cross, white on black so that it shows on every ground; at the border where it lies beyond."""
    row, col = min(max(row, _ARM), picture.height - 1 - _ARM), min(max(col, _ARM), picture.width - 1 - _ARM)
    for colour, arm, half in ((_CROSS_EDGE, _ARM, 1), (_CROSS, _ARM - 1, 0)):
        for high, wide in ((arm, half), (half, arm)):
            picture.paste(colour, (col - wide, row - high, col + wide + 1, row + high + 1))


def window_of(box: Box, image_size: tuple[int, int]) -> Box:
    """Return what is drawn of a box; see `Tile.window`."""
    top, bottom = _shorter(box.top, box.bottom, image_size[0])
    left, right = _shorter(box.left, box.right, image_size[1])
    return Box(top, left, bottom, right)


def _shorter(start: int, stop: int, length: int) -> tuple[int, int]:
    return (start, stop) if stop - start <= length else (0, length)
