"""Text in pictures: one font, measured before it is drawn."""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache
from math import ceil
from pathlib import Path
from typing import cast

from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]

INK: Colour = (24, 24, 27)
MUTED: Colour = (104, 104, 112)
WARNING: Colour = (176, 58, 0)


def line_height(size: int) -> int:
    """Return the distance from one line of text to the next."""
    return ceil(1.4 * size)


def text_width(text: str, size: int) -> int:
    """Return the width of a line of text."""
    return ceil(_font(size, _is_simple(text)).getlength(text))


def draw_text(picture: Image.Image, top: int, left: int, text: str, size: int, colour: Colour = INK) -> None:
    """Draw one line of text into a picture; all of its ink lies in the `line_height(size)` rows from top."""
    font = _font(size, _is_simple(text))
    ascent, descent = font.getmetrics()
    top += max(0, line_height(size) - ascent - descent) // 2
    ImageDraw.Draw(picture).text((left, top), text, fill=colour, font=font)


def shorten(text: str, size: int, width: int) -> str:
    """Return the text, cut and ended with an ellipsis where it is wider than width.

    Example:
        >>> shorten("channel 17", 12, 200)
        'channel 17'
    """
    if text_width(text, size) <= width:
        return text
    lengths = range(1, len(text) + 1)
    # a longer beginning is never narrower, so that the longest that fits is found by halving
    fitting = bisect_right(lengths, width, key=lambda length: text_width(f"{text[:length]}…", size))
    return f"{text[:fitting].rstrip()}…"


def wrap(text: str, size: int, width: int) -> list[str]:
    """Return the text broken at spaces into lines no wider than width; a longer word is shortened."""
    lines: list[str] = []
    for word in text.split():
        if lines and text_width(f"{lines[-1]} {word}", size) <= width:
            lines[-1] = f"{lines[-1]} {word}"
        else:
            lines.append(shorten(word, size, width))
    return lines


def _is_simple(text: str) -> bool:
    """Return whether Pillow's own font, which has little beyond ASCII, can draw the text."""
    return text.replace("·", "").replace("…", "").isascii()


@lru_cache(maxsize=64)
def _font(size: int, simple: bool) -> ImageFont.FreeTypeFont:
    if simple:
        return cast(ImageFont.FreeTypeFont, ImageFont.load_default(size))
    import matplotlib  # slow to import, and seldom needed

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"), size)
