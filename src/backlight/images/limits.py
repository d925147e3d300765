"""What sizes, ranges and resized pictures may be."""

from __future__ import annotations

from math import isfinite

from PIL import Image

from backlight.errors import BadInputError, ImageError
from backlight.images.deep import Picture, ValueRange


def check_size(name: str, size: tuple[int, int]) -> None:
    """Raise `BadInputError` unless it is (h, w) of whole numbers from 1."""
    if (
        not isinstance(size, tuple)
        or len(size) != 2
        or not all(isinstance(side, int) and side >= 1 for side in size)
    ):
        raise BadInputError(f"{name} must be (h, w) of at least 1 x 1 pixel, not {size!r}")


def checked_range(value_range: ValueRange) -> tuple[float, float]:
    """Return a range as two floats, or raise `BadInputError`."""
    is_pair = isinstance(value_range, tuple) and len(value_range) == 2
    if not is_pair or not all(isinstance(value, int | float) and isfinite(value) for value in value_range):
        raise BadInputError(f"range must be two numbers (LOW, HIGH), got {value_range!r}")
    low, high = map(float, value_range)
    if not (low < high and isfinite(high - low)):
        raise BadInputError(f"range must have its LOW below its HIGH, got ({low:g}, {high:g})")
    return low, high


def check_resized(picture: Picture, size: tuple[int, int]) -> None:
    """Raise `ImageError` where a picture would be resized to more pixels than Pillow opens."""
    n_pixels = size[0] * size[1]
    if Image.MAX_IMAGE_PIXELS is not None and n_pixels > Image.MAX_IMAGE_PIXELS:
        raise ImageError(
            f"too narrow: {picture.height} x {picture.width}, resized to a short side of {min(size)}, has "
            f"{n_pixels} pixels, the limit is {Image.MAX_IMAGE_PIXELS} (PIL.Image.MAX_IMAGE_PIXELS)"
        )
