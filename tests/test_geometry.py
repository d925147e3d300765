"""Boxes equal the sets of their pixels; receptive fields round down."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backlight.geometry import Axis, Box, ReceptiveField

PLACES = st.integers(-4, 8)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    """Return a box near the origin; it may be empty."""
    top, left = draw(PLACES), draw(PLACES)
    return Box(top, left, top + draw(st.integers(0, 6)), left + draw(st.integers(0, 6)))


def pixels(box: Box) -> set[tuple[int, int]]:
    return {(row, col) for row in range(box.top, box.bottom) for col in range(box.left, box.right)}


@given(boxes())
def test_a_box_is_half_open_and_has_as_many_pixels_as_its_area(box: Box) -> None:
    assert len(pixels(box)) == box.area == box.height * box.width
    assert Box(1, 2, 4, 9).height == 3
    assert Box(1, 2, 4, 9).width == 7


@given(boxes(), st.integers(0, 7), st.integers(0, 7))
def test_a_clipped_box_has_the_pixels_inside_the_image(box: Box, height: int, width: int) -> None:
    clipped = box.clip(height, width)
    assert pixels(clipped) == pixels(box) & pixels(Box(0, 0, height, width))
    assert 0 <= clipped.top <= clipped.bottom <= height
    assert 0 <= clipped.left <= clipped.right <= width


@pytest.mark.parametrize(
    ("box", "clipped"),
    [
        (Box(-9, 2, -5, 4), Box(0, 2, 0, 4)),
        (Box(9, 2, 12, 4), Box(6, 2, 6, 4)),
        (Box(1, -3, 2, -1), Box(1, 0, 2, 0)),
        (Box(1, 20, 2, 30), Box(1, 8, 2, 8)),
    ],
)
def test_a_box_outside_the_image_is_clipped_to_an_empty_one_on_the_nearest_edge(
    box: Box, clipped: Box
) -> None:
    assert box.clip(6, 8) == clipped


@given(boxes(), boxes())
def test_boxes_meet_in_their_common_pixels_and_contain_subsets(one: Box, other: Box) -> None:
    common = one.intersection(other)
    assert pixels(common) == pixels(one) & pixels(other)
    assert common.area == len(pixels(one) & pixels(other))
    if other.area:
        assert one.contains(other) is (pixels(other) <= pixels(one))


@given(boxes(), st.integers(-6, -4), st.integers(-6, -4))
def test_slices_cut_a_box_out_of_an_array_that_begins_elsewhere(box: Box, top: int, left: int) -> None:
    # Each pixel of the array holds its own row and column.
    array = np.stack(np.mgrid[top:20, left:20], 2)
    cut = array[box.slices(top, left)]
    assert cut.shape == (box.height, box.width, 2)
    assert {(row, col) for row, col in cut.reshape(-1, 2).tolist()} == pixels(box)


@pytest.mark.parametrize(
    ("stride", "starts"),
    [
        (Fraction(2), [-1, 1, 3, 5]),
        (Fraction(1, 2), [-1, -1, 0, 0]),
        (Fraction(3, 2), [-1, 0, 2, 3]),
        (Fraction(0), [-1, -1, -1, -1]),
    ],
)
def test_the_first_pixel_of_a_unit_is_rounded_down(stride: Fraction, starts: list[int]) -> None:
    axis = Axis(3, stride, -1)
    assert [axis.span(index) for index in range(4)] == [(start, start + 3) for start in starts]


def test_a_receptive_field_gives_rows_before_columns_and_reaches_into_the_padding() -> None:
    field = ReceptiveField(Axis(3, Fraction(2), -1), Axis(5, Fraction(4), -2))
    assert field.size == (3, 5)
    assert field.stride == (2, 4)
    assert field.box(0, 3) == Box(-1, 10, 2, 15)
    assert not field.is_whole


def test_a_field_is_whole_only_if_its_units_see_the_same_along_both_axes() -> None:
    whole = ReceptiveField.whole(24, 32)
    assert whole.is_whole
    assert whole.box(0, 0) == whole.box(7, 3) == Box(0, 0, 24, 32)
    assert not ReceptiveField(whole.rows, Axis(32, Fraction(1), 0)).is_whole
