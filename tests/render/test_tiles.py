from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backlight.errors import BadInputError
from backlight.geometry import Box
from backlight.render import Tile, display_size, draw_patch, draw_projection, pad

IMAGE = (20, 30)
PATCH, PROJECTION = (200, 0, 0), (255, 128, 1)


def tile_at(box, image_size=IMAGE, channels=3):
    inside = box.clip(*image_size)
    patch = np.full((inside.height, inside.width, 3), PATCH, np.uint8)
    projection = np.zeros((inside.height, inside.width, channels), np.float32)
    projection[...] = np.array([1, 0, -1])[:channels]
    return Tile(patch, projection, box, image_size)


def is_colour(picture, colour):
    return (np.asarray(picture) == colour).all(2)


# Each border by itself: (box, rows inside, columns inside) of a 6 x 6 field.
BORDERS = {
    "top": (Box(-2, 10, 4, 16), slice(2, 6), slice(0, 6)),
    "left": (Box(5, -1, 11, 5), slice(0, 6), slice(1, 6)),
    "bottom": (Box(17, 10, 23, 16), slice(0, 3), slice(0, 6)),
    "right": (Box(5, 28, 11, 34), slice(0, 6), slice(0, 2)),
    "top left": (Box(-5, -3, 1, 3), slice(5, 6), slice(3, 6)),
    "none": (Box(5, 10, 11, 16), slice(0, 6), slice(0, 6)),
}


@pytest.mark.parametrize(("box", "rows", "cols"), BORDERS.values(), ids=BORDERS.keys())
def test_padding_lies_where_the_field_leaves_the_image(box, rows, cols):
    tile = tile_at(box)
    expected = np.zeros((6, 6), bool)
    expected[rows, cols] = True
    padded = pad(tile, tile.projection)
    assert padded.shape == (6, 6, 3)
    assert padded.dtype == tile.projection.dtype
    assert np.array_equal(padded[..., 0] == 1, expected)
    assert np.array_equal(pad(tile, tile.patch)[..., 0] == 200, expected)


@pytest.mark.parametrize(("box", "rows", "cols"), BORDERS.values(), ids=BORDERS.keys())
def test_drawn_tiles_show_the_inside_at_the_same_place_enlarged(box, rows, cols):
    tile, factor = tile_at(box), 12
    expected = np.zeros((6, 6), bool)
    expected[rows, cols] = True
    expected = expected.repeat(factor, 0).repeat(factor, 1)
    assert np.array_equal(is_colour(draw_patch(tile, 6 * factor), PATCH), expected)
    assert np.array_equal(is_colour(draw_projection(tile, 6 * factor), PROJECTION), expected)
    assert tile.is_whole == expected.all()


def test_the_outside_is_neither_white_nor_the_grey_of_zero():
    picture = np.asarray(draw_projection(tile_at(Box(-6, 0, 0, 6)), 72))
    assert picture.shape == (72, 72, 3)
    assert 200 < picture.min() < picture.max() < 255
    assert (picture[0] != picture[1]).any(), "hatched, not flat"


def test_a_cross_marks_a_unit_that_is_not_in_the_middle():
    grey = np.full((40, 40, 3), 128, np.uint8)
    plain = Tile(grey, np.zeros((40, 40, 3)), Box(0, 0, 40, 40), (40, 40))
    for unit, middle in (
        ((10.0, 30.0), (10, 30)),
        ((-5.0, 39.0), (4, 35)),
    ):  # beyond the border: at the border
        found = np.asarray(draw_patch(replace(plain, unit=unit), 40))
        changed = np.argwhere((found != np.asarray(draw_patch(plain, 40))).any(2))
        assert len(changed) == 2 * 9 * 3 - 9
        assert tuple(changed.mean(0).round()) == middle
        assert tuple(found[middle]) == (255, 255, 255)


def test_a_patch_keeps_its_orientation():
    patch = np.zeros((2, 3, 3), np.uint8)
    patch[0, 2] = 255
    tile = Tile(patch, np.zeros((2, 3, 1), np.float32), Box(0, 0, 2, 3), IMAGE)
    shown = np.asarray(draw_patch(tile, 30))
    assert shown.shape == (20, 30, 3)
    assert (shown[:10, 20:] == 255).all()
    assert shown.sum() == 10 * 10 * 3 * 255


def test_a_field_larger_than_the_image_shows_the_image():
    tile = tile_at(Box(-40, -7, 50, 3))
    assert tile.window == Box(0, -7, 20, 3)
    shown = is_colour(draw_patch(tile, 20), PATCH)
    assert shown.shape == (20, 10)
    assert shown[:, 7:].all()
    assert not shown[:, :7].any()
    assert pad(tile, tile.patch).shape == (90, 10, 3)


@given(st.integers(-40, 40), st.integers(-40, 40), st.integers(1, 50), st.integers(1, 50), st.integers(1, 40))
def test_any_field_can_be_padded_and_drawn(top, left, height, width, size):
    tile = tile_at(Box(top, left, top + height, left + width), channels=1)
    padded = pad(tile, np.ones_like(tile.projection))
    assert padded.shape == (height, width, 1)
    assert padded.sum() == tile.inside.height * tile.inside.width
    for picture in (draw_patch(tile, size), draw_projection(tile, size)):
        assert max(picture.size) == size


def test_small_fields_are_drawn_as_squares_and_large_ones_smoothly():
    for side in range(1, 37):
        assert display_size(side, side) % side == 0
        assert 72 <= display_size(side, side) <= 108
    assert display_size(37, 20) == display_size(500, 500) == 112
    assert display_size(5, 24) == 72
    board = np.indices((36, 36)).sum(0)[..., None] % 2 * np.full(3, 255)
    for side, n_shades in ((36, 2), (32, 2)):
        patch = board[:side, :side].astype(np.uint8)
        tile = Tile(patch, np.zeros((side, side, 3), np.float32), Box(0, 0, side, side), (50, 50))
        assert len(draw_patch(tile, 2 * side).getcolors()) == n_shades


def test_arrays_that_do_not_fit_the_box_are_refused():
    box, patch = Box(-1, 0, 2, 3), np.zeros((2, 3, 3), np.uint8)
    with pytest.raises(
        BadInputError, match=r"projection of a tile .* \(2, 3\) with 1 or 3 channels, got \(3, 3, 3\)"
    ):
        Tile(patch, np.zeros((3, 3, 3), np.float32), box, IMAGE)
    with pytest.raises(BadInputError, match=r"1 or 3 channels, got \(2, 3, 2\)"):
        Tile(patch, np.zeros((2, 3, 2), np.float32), box, IMAGE)
    with pytest.raises(BadInputError, match=r"patch of a tile .* got \(2, 2, 3\)"):
        Tile(patch[:, :2], np.zeros((2, 3, 3), np.float32), box, IMAGE)
