"""Spreads: which pixels the entries of a tensor see, by counting through small index ranges."""

from fractions import Fraction
from math import ceil, floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backlight.geometry import Axis
from backlight.operators.spread import Spread, Window, contracted, joined, slide, stretched

NCHW = ("n", "c", "h", "w")


def axis(size, stride=1, offset=0):
    return Axis(size, Fraction(stride), offset)


ROWS, COLS = axis(3, 2, -1), axis(5, 4, 2)
MAPS = Spread(NCHW, ROWS, COLS)
TOKENS = Spread(("n", "hw", "c"), ROWS, COLS, grids=frozenset({(4, 9)}))


def seen(spread):
    return spread.roles, spread.rows, spread.cols


@given(
    st.builds(
        Axis, st.integers(1, 5), st.fractions(Fraction(1, 9), 9, max_denominator=9), st.integers(-9, 9)
    ),
    st.fractions(Fraction(1, 6), 6, max_denominator=6),
    st.fractions(-6, 6, max_denominator=6),
    st.fractions(0, 6, max_denominator=6),
)
def test_a_window_shows_all_that_its_inputs_see(below, step, first, reach):
    found = Window(step, first, first + reach).seen_through(below)
    whole = all(value.denominator == 1 for value in (below.stride, step, first, reach))
    for i in range(-7, 8):
        inputs = range(ceil(i * step + first), floor(i * step + first + reach) + 1)
        spans = [below.span(j) for j in inputs]
        if spans:
            union, shown = (spans[0][0], spans[-1][1]), found.span(i)
            assert shown == union if whole else (shown[0] <= union[0] and union[1] <= shown[1])


def test_a_window_over_the_whole_image_sees_the_whole_image():
    assert Window(2, -1, 1).seen_through(None) is None


@pytest.mark.parametrize("strides", [(1, 1), (2, 3)])
def test_windows_slide_along_the_last_dimensions(strides):
    found = slide(MAPS, [Window(step, -1, 1) for step in strides])
    for i in range(5):
        inputs = range(i * strides[0] - 1, i * strides[0] + 2)
        assert found.rows.span(i) == (ROWS.span(inputs[0])[0], ROWS.span(inputs[-1])[1])
        inputs = range(i * strides[1] - 1, i * strides[1] + 2)
        assert found.cols.span(i) == (COLS.span(inputs[0])[0], COLS.span(inputs[-1])[1])


@pytest.mark.parametrize(
    ("spread", "window", "rows"),
    [
        (MAPS, Window(1, 0, 2), axis(3 + 2 * 2, 2, -1)),  # three rows in a row: (i - 1)*2 .. (i + 1)*2 + 3
        (TOKENS, Window(), ROWS),
        (TOKENS, Window(1, 0, 1), None),  # neighbours in raster order may lie a row apart
    ],
)
def test_along_a_dimension_of_both_a_window_mixes_positions(spread, window, rows):
    dim = spread.roles.index("h" if "h" in spread.roles else "hw")
    assert spread.windowed(dim, window).rows == rows


def test_an_axis_that_no_dimension_carries_is_the_whole_image():
    assert seen(MAPS.with_roles(("n", "c", "h"))) == (("n", "c", "h"), ROWS, None)
    assert seen(MAPS.with_roles(("n", "hw", "c"))) == (("n", "hw", "c"), ROWS, COLS)
    assert seen(MAPS.with_roles(("h", "h", "w"))) == (("h", "h", "w"), None, COLS)  # rows twice
    assert seen(MAPS.with_roles(("w", "w", "h"))) == (("w", "w", "h"), ROWS, None)


@pytest.mark.parametrize(
    ("dims", "rows", "cols", "sees_all"),
    [
        ([], ROWS, COLS, False),
        ([1], ROWS, COLS, False),
        ([2], None, COLS, False),
        ([3], ROWS, None, False),
        ([2, 3], None, None, True),
    ],
)
def test_positions_that_go_into_each_other_see_the_whole_axis(dims, rows, cols, sees_all):
    for found, expected in ((MAPS.mixed(dims), False), (MAPS.averaged(dims), sees_all)):
        assert seen(found) == (NCHW, rows, cols)
        assert found.sees_all == expected  # mixed positions may leave some out


def test_a_grid_takes_the_place_of_one_of_as_many_positions():
    assert TOKENS.with_grid((6, 6)).grids == {(6, 6)}
    assert TOKENS.with_grid((2, 9)).grids == {(4, 9), (2, 9)}


def test_what_is_broadcast_loses_the_roles_of_the_dimensions_that_are_copied():
    row = Spread(("c", "h", "w"), ROWS, COLS)
    found = stretched(row, (4, 1, 7), (2, 4, 6, 7))
    assert seen(found) == (("", "c", "", "w"), None, COLS)
    assert stretched(MAPS, (2, 4, 6, 7), (2, 4, 6, 7)) == MAPS


def test_the_union_of_two_spreads_shows_what_either_sees():
    other = Spread(NCHW, axis(2, 2, 4), COLS, gates_ignored=True)
    found = joined([MAPS, other])
    for i in range(4):
        spans = ROWS.span(i), other.rows.span(i)
        assert found.rows.span(i) == (min(s[0] for s in spans), max(s[1] for s in spans))
    assert found.cols == COLS
    assert found.gates_ignored


@pytest.mark.parametrize(
    ("other", "roles", "rows", "cols"),
    [
        (Spread(NCHW, axis(3, 1, -1), COLS), NCHW, None, COLS),  # other strides
        (Spread(NCHW, None, COLS), NCHW, None, COLS),
        (Spread(("n", "", "h", "w"), ROWS, COLS), NCHW, ROWS, COLS),
        (Spread(("n", "c", "w", "h"), ROWS, COLS), ("n", "c", "", ""), None, None),  # rows met columns
    ],
)
def test_where_spreads_disagree_the_union_is_the_whole_image(other, roles, rows, cols):
    assert seen(joined([MAPS, other])) == seen(joined([other, MAPS])) == (roles, rows, cols)


def test_two_grids_of_as_many_positions_are_neither():
    """*Convention*: 4 x 9 and 6 x 6."""
    other = Spread(TOKENS.roles, ROWS, COLS, grids=frozenset({(6, 6)}))
    assert joined([TOKENS, other]).roles == ("n", "", "c")
    assert joined([TOKENS, other]).rows is None
    assert joined([TOKENS, TOKENS]) == TOKENS


def test_a_dimension_that_is_summed_over_gives_its_place_to_another():
    maps = contracted(MAPS, -3)  # by weights: channels for channels
    assert maps == MAPS
    rows = contracted(MAPS, -1)  # columns become channels
    assert seen(rows) == (("n", "c", "h", "c"), ROWS, None)
    keys = Spread(("n", "c", "hw"), ROWS, COLS)
    attention = contracted(TOKENS, -1, keys)  # rows against rows: an axis is there only once
    assert attention.roles == ("n", "hw", "")
