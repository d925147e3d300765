"""Zoom: tiles are cut to where the projections are, to one size, and nothing that matters is lost."""

from __future__ import annotations

import numpy as np
import pytest

from backlight.geometry import Box
from backlight.render import Tile, cut, into_image, zoom

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
    (central,) = zoom([whole])
    assert central.box == Box(7, 7, 14, 14)
    assert np.abs(central.projection).sum() == 10
    np.testing.assert_array_equal(central.patch, whole.patch[7:14, 7:14])


def test_negative_values_count_as_much_as_positive_ones() -> None:
    assert zoom([tile([(10, 10, 1.0), (10, 6, -1.0)])])[0].box == Box(6, 6, 15, 15)


def test_all_tiles_of_a_layer_are_cut_alike_and_one_outlier_in_ten_does_not_decide() -> None:
    tiles = [tile([(10, 10, 1.0)])] * 19 + [tile([(0, 0, 1.0)])]
    assert {central.box for central in zoom(tiles)} == {Box(10, 10, 11, 11)}
    tiles = [tile([(10, 10, 1.0)])] * 4 + [tile([(5, 10, 1.0)])] * 6
    assert {central.box for central in zoom(tiles)} == {Box(5, 5, 16, 16)}


def test_a_tile_that_leaves_the_image_stays_aligned_on_its_unit() -> None:
    whole = tile([(2, 3, 1.0)], Box(-8, -7, 13, 14))
    (central,) = zoom([whole])
    assert central.box == Box(2, 3, 3, 4)
    assert central.projection.item() == 1.0


def test_a_cut_is_moved_into_the_image_and_shows_more_of_it() -> None:
    whole = tile(
        [(2, 3, 1.0), (4, 3, 1.0)], Box(-8, -7, 13, 14)
    )  # the unit at (2, 3), the cut of 5 x 5 about it
    (aligned,), (moved,) = zoom([whole]), zoom([whole], moved=True)
    assert (aligned.box, moved.box) == (Box(0, 1, 5, 6), Box(0, 1, 5, 6))
    near = tile([(0, 3, 1.0), (2, 3, 1.0)], Box(-10, -7, 11, 14))  # the unit in the first row
    (aligned,), (moved,) = zoom([near]), zoom([near], moved=True)
    assert (aligned.box, moved.box) == (Box(-2, 1, 3, 6), Box(0, 1, 5, 6))
    assert not aligned.is_whole
    assert moved.is_whole
    assert moved.projection.sum() == near.projection.sum()
    np.testing.assert_array_equal(moved.patch, near.patch[:5, 1:6])
    assert (aligned.unit, moved.unit) == (None, (0, 3))


def test_a_cut_is_moved_no_further_than_the_unit_sees() -> None:
    # the unit is five rows above the image: 11 x 11 about it, of which it sees five rows further down
    (moved,) = zoom([tile([(0, 10, 1.0)], Box(-15, 0, 6, 21))], moved=True)
    assert moved.box == Box(-5, 5, 6, 16)
    assert moved.projection.sum() == 1


def test_a_cut_that_is_longer_than_the_image_covers_all_of_it() -> None:
    whole = tile([(0, 0, 1.0), (8, 8, 1.0)], Box(-20, -20, 21, 21), 9)
    assert zoom([whole], moved=True)[0].box == Box(-8, -8, 9, 9)
    corner = tile([(8, 8, 1.0), (0, 8, 1.0)], Box(-12, -12, 29, 29), 9)
    (moved,) = zoom([corner], moved=True)
    assert moved.inside == Box(0, 0, 9, 9)


def test_other_projections_are_cut_to_the_same_pixels() -> None:
    whole, other = tile([(10, 10, 1.0)]), tile([(0, 0, 5.0), (10, 10, 2.0)])
    (zoomed,) = zoom([whole])
    same = cut(other, zoomed.box)
    assert same.box == Box(10, 10, 11, 11)
    assert same.projection.item() == 2.0


def test_a_tile_is_moved_into_its_image_and_shows_nothing_where_the_unit_does_not_see() -> None:
    image = np.arange(21 * 21 * 3, dtype=np.uint32).reshape(21, 21, 3).astype(np.uint8)
    edge = tile([(0, 10, 2.0)], Box(-3, 8, 4, 15))
    inside = into_image(edge, image)
    assert inside.box == Box(0, 8, 7, 15)
    np.testing.assert_array_equal(inside.patch, image[:7, 8:15])
    assert inside.projection[0, 2].item() == 2.0
    assert inside.projection.sum() == 2.0
    assert inside.unit == (0, 11)
    whole = tile([(3, 10, 2.0)], Box(0, 8, 7, 15))
    assert into_image(whole, image) is whole
    larger = tile([(3, 10, 2.0)], Box(-5, 8, 17, 15))
    assert into_image(larger, image) is larger


def test_a_small_gain_is_not_worth_a_cut() -> None:
    whole = tile([(2, 10, 1.0)])
    assert zoom([whole])[0] is whole


def test_a_projection_of_zeros_is_left_whole() -> None:
    whole = tile([])
    assert zoom([whole]) == [whole]
    assert zoom([]) == []


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_smaller_share_cuts_more(share: float) -> None:
    (central,) = zoom([tile([(10, 10, 0.6), (12, 10, 0.35), (16, 10, 0.05)])], share)
    assert central.box.height == {0.5: 1, 0.9: 5}[share]
