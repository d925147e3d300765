"""Pages: blocks in a grid, what stands around them, and how they are put together."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from backlight.errors import BadInputError
from backlight.render.page import (
    EMPTY,
    LABEL_SIZE,
    MARGIN,
    WHITE,
    Frame,
    below,
    beside,
    centre,
    grid,
    grid_columns,
    headed,
    page,
)
from backlight.render.text import MUTED, shorten
from render.finding import box_of

RED, LIME, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
COLOURS = [(10 * i, 0, 200) for i in range(1, 8)]


def blocks(n: int, size: tuple[int, int] = (40, 30)) -> list[Image.Image]:
    return [Image.new("RGB", size, colour) for colour in COLOURS[:n]]


def place(picture: Image.Image, colour: tuple[int, int, int]) -> tuple[int, int]:
    """Return row and column of the first pixel of a colour."""
    box = box_of(picture, colour)
    assert box is not None
    return box.top, box.left


def test_a_grid_is_in_reading_order_and_its_ground_shows_between() -> None:
    shown = grid(blocks(5), columns=3, gap=4, ground=RED)
    assert shown.size == (3 * 40 + 2 * 4, 2 * 30 + 4)
    assert [place(shown, colour) for colour in COLOURS[:5]] == [(0, 0), (0, 44), (0, 88), (34, 0), (34, 44)]
    assert box_of(shown, RED) is not None
    assert shown.getpixel((100, 50)) == RED  # where there is no sixth block


@pytest.mark.parametrize(("n_cells", "columns"), [(0, 1), (1, 1), (2, 2), (4, 2), (5, 3), (9, 3), (10, 4)])
def test_the_grid_of_cells_is_the_squarest(n_cells: int, columns: int) -> None:
    assert grid_columns(n_cells) == columns


def test_blocks_stand_inside_of_the_margin_and_words_take_space_of_their_own() -> None:
    plain = page(blocks(4), Frame("", columns=2, gap=10))
    assert plain.size == (2 * 40 + 10 + 2 * MARGIN, 2 * 30 + 10 + 2 * MARGIN)
    assert [place(plain, colour) for colour in COLOURS[:4]] == [(24, 24), (24, 74), (64, 24), (64, 74)]
    titled = page(blocks(4), Frame("T", "below it", "the legend", columns=2, gap=10))
    assert titled.width == plain.width
    above = place(titled, COLOURS[0])[0] - MARGIN
    assert above > 0
    foot = titled.height - plain.height - above
    assert foot > 0
    body = np.asarray(titled)[above + MARGIN : above + MARGIN + 70, MARGIN:-MARGIN]
    assert np.array_equal(body, np.asarray(plain)[MARGIN:-MARGIN, MARGIN:-MARGIN])


@pytest.mark.parametrize(("n_blocks", "asked", "columns"), [(7, 3, 3), (2, 5, 2), (7, 1, 1)])
def test_columns_that_are_asked_for_are_kept_up_to_the_number_of_blocks(
    n_blocks: int, asked: int, columns: int
) -> None:
    shown = page(blocks(n_blocks), Frame("", columns=asked, gap=0))
    assert shown.width == columns * 40 + 2 * MARGIN


def test_a_page_is_at_most_2400_pixels_wide_unless_a_block_is_wider() -> None:
    assert page(blocks(1, (384, 400)) * 99, Frame("", gap=28)).width == 5 * 384 + 4 * 28 + 2 * MARGIN
    assert page(blocks(3, (3000, 20)), Frame("")).width == 3000 + 2 * MARGIN


def test_pages_that_cannot_be_laid_out_are_refused() -> None:
    with pytest.raises(BadInputError, match="a figure shows at least one feature map, got none"):
        page([], Frame("T"))
    with pytest.raises(BadInputError, match="a figure has at least 1 column, got 0"):
        page(blocks(2), Frame("T", columns=0))


def test_a_picture_in_the_middle_of_a_blank_one() -> None:
    shown = centre(Image.new("RGB", (4, 2), RED), height=7, width=9)
    assert shown.size == (9, 7)
    assert place(shown, RED) == (2, 2)  # an odd pixel goes below and to the right
    assert shown.getpixel((0, 0)) == EMPTY


def test_pictures_beside_and_below_each_other() -> None:
    large, small = Image.new("RGB", (6, 9), RED), Image.new("RGB", (4, 3), LIME)
    shown = beside([large, small], gap=2)
    assert shown.size == (12, 9)
    assert (place(shown, RED), place(shown, LIME)) == ((0, 0), (0, 8))
    assert shown.getpixel((9, 5)) == WHITE
    shown = below([large, small], gap=2)
    assert shown.size == (6, 14)
    assert (place(shown, RED), place(shown, LIME)) == ((0, 0), (11, 0))
    assert shown.getpixel((5, 12)) == WHITE


def test_a_heading_stands_above_the_picture_in_its_width() -> None:
    picture = Image.new("RGB", (120, 20), BLUE)
    heights = set()
    for label, caption in (("map 3", ""), ("map 3", "mean 0.1"), ("a long label " * 20, "a caption " * 20)):
        shown = headed(picture, label, caption)
        heights.add(shown.height)
        assert shown.width == 120
        assert shown.crop((0, shown.height - 20, 120, shown.height)).tobytes() == picture.tobytes()
        assert box_of(shown.crop((0, 0, 120, shown.height - 20)), BLUE) is None
        assert (box_of(shown, MUTED) is not None) == (caption == "mean 0.1")
    assert len(heights) == 1, "one line, however long its words are"
    fitting = shorten("a long label " * 20, LABEL_SIZE, 120)
    assert headed(picture, "a long label " * 20).tobytes() == headed(picture, fitting).tobytes()
