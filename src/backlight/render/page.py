"""Pages: equal blocks in a grid, under a title and above a legend, on white."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from typing import TypeVar

import numpy as np
from PIL import Image

from backlight.errors import BadInputError
from backlight.render.text import INK, MUTED, Colour, draw_text, line_height, shorten, text_width, wrap

WHITE: Colour = (255, 255, 255)
EMPTY: Colour = (247, 247, 248)
LINE: Colour = (214, 214, 218)
TITLE_SIZE, SUBTITLE_SIZE, LABEL_SIZE, NOTE_SIZE = 22, 14, 15, 12
MARGIN, MAX_WIDTH = 24, 2400
_TARGET_ASPECT = 1.4
Item = TypeVar("Item")


def evenly_spread(items: Sequence[Item], most: int) -> list[Item]:
    """Return at most so many items, evenly from the first to the last.

    Example:
        >>> evenly_spread("abcdefg", 3), evenly_spread("ab", 3)
        (['a', 'd', 'g'], ['a', 'b'])
    """
    if len(items) <= most:
        return list(items)
    return [items[round(i)] for i in np.linspace(0, len(items) - 1, most)]


@dataclass(frozen=True)
class Frame:
    """What stands around the blocks of a page.

    Attributes:
        title: Above the blocks, large.
        subtitle: Below the title; empty for none.
        legend: Below the blocks: what the colours mean.
        columns: Blocks side by side; None chooses, at most as many as fit in 2400 pixels.
        gap: Space between blocks.
    """

    title: str
    subtitle: str = ""
    legend: str = ""
    columns: int | None = None
    gap: int = 28


def page(blocks: Sequence[Image.Image], frame: Frame) -> Image.Image:
    """Return the blocks, all of one size, in a grid in reading order.

    Raises:
        BadInputError: No block, or less than one column.
    """
    if not blocks:
        raise BadInputError("a figure shows at least one feature map, got none")
    width, height = blocks[0].size
    columns = _count_columns(len(blocks), height, width, frame)
    inner = columns * width + (columns - 1) * frame.gap
    head = [(line, TITLE_SIZE, INK) for line in wrap(frame.title, TITLE_SIZE, inner)]
    head += [(line, SUBTITLE_SIZE, MUTED) for line in wrap(frame.subtitle, SUBTITLE_SIZE, inner)]
    foot = [(line, NOTE_SIZE, MUTED) for line in wrap(frame.legend, NOTE_SIZE, inner)]
    body = grid(blocks, columns, frame.gap)
    above = MARGIN + _height(head) + (16 if head else 0)
    below = (16 if foot else 0) + _height(foot) + MARGIN
    result = Image.new("RGB", (inner + 2 * MARGIN, above + body.height + below), WHITE)
    result.paste(body, (MARGIN, above))
    _draw_lines(result, MARGIN, head)
    _draw_lines(result, result.height - MARGIN - _height(foot), foot)
    return result


def grid(pictures: Sequence[Image.Image], columns: int, gap: int, ground: Colour = WHITE) -> Image.Image:
    """Return pictures of one size in rows of `columns`, in reading order; the ground shows between them."""
    width, height = pictures[0].size
    rows = -(-len(pictures) // columns)  # rounded up
    size = (columns * width + (columns - 1) * gap, rows * height + (rows - 1) * gap)
    result = Image.new("RGB", size, ground)
    for i, picture in enumerate(pictures):
        row, col = divmod(i, columns)
        result.paste(picture, (col * (width + gap), row * (height + gap)))
    return result


def grid_columns(n_cells: int) -> int:
    """Return the number of columns of the squarest grid that holds n cells: 3 for nine."""
    return max(1, ceil(sqrt(n_cells)))


def centre(picture: Image.Image, height: int, width: int) -> Image.Image:
    """Return the picture in the middle of a blank one of height x width pixels."""
    result = Image.new("RGB", (width, height), EMPTY)
    result.paste(picture, ((width - picture.width) // 2, (height - picture.height) // 2))
    return result


def beside(pictures: Sequence[Image.Image], gap: int) -> Image.Image:
    """Return pictures side by side, aligned at the top, on white."""
    width = sum(p.width for p in pictures) + gap * (len(pictures) - 1)
    result = Image.new("RGB", (width, max(p.height for p in pictures)), WHITE)
    left = 0
    for picture in pictures:
        result.paste(picture, (left, 0))
        left += picture.width + gap
    return result


def below(pictures: Sequence[Image.Image], gap: int) -> Image.Image:
    """Return pictures below each other, aligned at the left, on white."""
    height = sum(p.height for p in pictures) + gap * (len(pictures) - 1)
    result = Image.new("RGB", (max(p.width for p in pictures), height), WHITE)
    top = 0
    for picture in pictures:
        result.paste(picture, (0, top))
        top += picture.height + gap
    return result


def headed(picture: Image.Image, label: str, caption: str = "") -> Image.Image:
    """Return the picture below one line: the label, then the caption in grey, shortened to its width."""
    above = line_height(LABEL_SIZE) + 4
    result = Image.new("RGB", (picture.width, above + picture.height), WHITE)
    result.paste(picture, (0, above))
    label = shorten(label, LABEL_SIZE, picture.width)
    draw_text(result, 0, 0, label, LABEL_SIZE)
    left = text_width(label, LABEL_SIZE) + 10 if label else 0
    if caption and left < picture.width:
        top = line_height(LABEL_SIZE) - line_height(NOTE_SIZE) - 1
        draw_text(result, top, left, shorten(caption, NOTE_SIZE, picture.width - left), NOTE_SIZE, MUTED)
    return result


def _count_columns(n_blocks: int, height: int, width: int, frame: Frame) -> int:
    if frame.columns is not None:
        if frame.columns < 1:
            raise BadInputError(f"a figure has at least 1 column, got {frame.columns}")
        return min(frame.columns, n_blocks)
    # c blocks have c - 1 gaps between them: with one gap more, c · (width + gap) must fit
    fitting = max(1, (MAX_WIDTH - 2 * MARGIN + frame.gap) // (width + frame.gap))
    # c · (width + gap) = aspect · rows · (height + gap), where rows is n / c, solved for c
    balanced = round(sqrt(n_blocks * (height + frame.gap) * _TARGET_ASPECT / (width + frame.gap)))
    return min(fitting, max(1, balanced), n_blocks)


def _height(lines: Sequence[tuple[str, int, Colour]]) -> int:
    return sum(line_height(size) for _, size, _ in lines)


def _draw_lines(picture: Image.Image, top: int, lines: Sequence[tuple[str, int, Colour]]) -> None:
    for text, size, colour in lines:
        draw_text(picture, top, MARGIN, text, size, colour)
        top += line_height(size)
