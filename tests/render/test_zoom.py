"""Zoom: tiles are cut to where the projections are, to one size, and nothing that matters is lost."""

from __future__ import annotations

import numpy as np
import pytest

from backlight.geometry import Box
from backlight.render import Tile, zoom

WHOLE = Box(0, 0, 21, 21)


def tile(places: list[tuple[int, int, float]], box: Box = WHOLE, size: int = 21) -> Tile:
    inside = box.clip(size, size)
    projection = np.zeros((inside.height, inside.width, 1))
    for row, col, value in places:
        projection[row - inside.top, col - inside.left] = value
    patch = np.arange(inside.height * inside.width * 3, dtype=np.uint32) % 251
    return Tile(patch.astype(np.uint8).reshape(inside.height, inside.width, 3), projection, box, (size, size))


def test_the_cut_is_central_and_holds_the_magnitude() -> None:
    whole = tile([(10, 10, 5.0), (13, 10, -5.0), (0, 0, 0.1)])
    (cut,) = zoom([whole])
    assert cut.box == Box(7, 7, 14, 14)
    assert np.abs(cut.projection).sum() == 10
    np.testing.assert_array_equal(cut.patch, whole.patch[7:14, 7:14])


def test_negative_values_count_as_much_as_positive_ones() -> None:
    assert zoom([tile([(10, 10, 1.0), (10, 6, -1.0)])])[0].box == Box(6, 6, 15, 15)


def test_all_tiles_of_a_layer_are_cut_alike_and_one_outlier_in_ten_does_not_decide() -> None:
    tiles = [tile([(10, 10, 1.0)])] * 19 + [tile([(0, 0, 1.0)])]
    assert {cut.box for cut in zoom(tiles)} == {Box(10, 10, 11, 11)}
    tiles = [tile([(10, 10, 1.0)])] * 4 + [tile([(5, 10, 1.0)])] * 6
    assert {cut.box for cut in zoom(tiles)} == {Box(5, 5, 16, 16)}


def test_a_tile_that_leaves_the_image_stays_aligned_on_its_unit() -> None:
    whole = tile([(2, 3, 1.0)], Box(-8, -7, 13, 14))
    (cut,) = zoom([whole])
    assert cut.box == Box(2, 3, 3, 4)
    assert cut.projection.item() == 1.0


def test_a_small_gain_is_not_worth_a_cut() -> None:
    whole = tile([(2, 10, 1.0)])
    assert zoom([whole])[0] is whole


def test_a_projection_of_zeros_is_left_whole() -> None:
    whole = tile([])
    assert zoom([whole]) == [whole]
    assert zoom([]) == []


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_smaller_share_cuts_more(share: float) -> None:
    (cut,) = zoom([tile([(10, 10, 0.6), (12, 10, 0.35), (16, 10, 0.05)])], share)
    assert cut.box.height == {0.5: 1, 0.9: 5}[share]
