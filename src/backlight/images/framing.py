"""Where a picture's pixels go: the sizes of a resize and of a centre crop, done by Pillow and NumPy alone.

*Convention*: as torchvision's `resize` and `center_crop` do it for Pillow images, bit for bit (tests hold them equal):
always antialiased, black where a picture is smaller than the crop, the odd pixel of padding at the bottom and right; of
an odd margin, half is rounded to even.
"""

from __future__ import annotations

from typing import TypeAlias

from PIL import Image

Resize: TypeAlias = int | tuple[int, int] | None
"""The new length of the short side, the exact new (h, w), or None: not resized."""

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "nearest-exact": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
    "lanczos": Image.Resampling.LANCZOS,
}
INTERPOLATIONS = tuple(_FILTERS)
"""As torchvision's `InterpolationMode` spells them."""


def resized_size(size: tuple[int, int], resize: Resize) -> tuple[int, int]:
    """Return (h, w) of a picture of `size` (h, w) after a resize; the long side is rounded down.

    Example:
        >>> resized_size((480, 641), 256), resized_size((480, 641), None)
        ((256, 341), (480, 641))
    """
    if resize is None:
        return size
    if not isinstance(resize, int):
        return resize
    short = min(size)
    # the short side becomes resize · short // short, exactly resize
    return resize * size[0] // short, resize * size[1] // short


def resized(picture: Image.Image, size: tuple[int, int], interpolation: str) -> Image.Image:
    """Return a Pillow image of any mode resized to (h, w); the image itself where it has that size already."""
    height, width = size
    if picture.size == (width, height):
        return picture
    return picture.resize((width, height), _FILTERS[interpolation])


def centre_box(size: tuple[int, int], crop: tuple[int, int]) -> tuple[int, int]:
    """Return (top, left) of the centre crop; negative along an axis on which the picture is smaller than the crop.

    Example:
        >>> centre_box((256, 341), (224, 224)), centre_box((5, 8), (8, 5))
        ((16, 58), (-1, 2))
    """
    top, left = (_start(have, want) for have, want in zip(size, crop, strict=True))
    return top, left


def _start(have: int, want: int) -> int:
    # `round` takes halves to the even number; // rounds down, so the smaller half of the padding comes before
    return round((have - want) / 2) if have >= want else -((want - have) // 2)
