"""Windows: signals on parts of maps are what the same signals are on whole maps."""

import numpy as np
import pytest
import torch

from backlight.operators.windows import Windows, in_order

SHAPE = (3, 2, 11, 14)


def random_windows(generator, size):
    """Return windows of three units, anywhere in and over the edges of a map, with signals in the map only."""
    starts = [generator.integers(-own + 1, length, 3) for own, length in zip(size, SHAPE[2:], strict=True)]
    return Windows(torch.randn(3, 2, *size), tuple(zip((2, 3), starts, strict=True)))


def laid_out(windows):
    """Return the maps (n, c, h, w) of windows, written cell by cell."""
    maps = torch.zeros(SHAPE, dtype=windows.data.dtype)
    (_, tops), (_, lefts) = windows.axes
    for unit, row, col in np.ndindex(3, *windows.data.shape[2:]):
        h, w = tops[unit] + row, lefts[unit] + col
        if 0 <= h < SHAPE[2] and 0 <= w < SHAPE[3]:
            maps[unit, :, h, w] = windows.data[unit, :, row, col]
    return maps


@pytest.mark.parametrize("seed", range(30))
def test_windows_anywhere_add_up_and_are_cut_as_whole_maps_are(seed):
    generator = np.random.default_rng(seed)
    sizes = [tuple(int(v) for v in generator.integers(1, 20, 2)) for _ in range(2)]
    one, two = (random_windows(generator, size) for size in sizes)
    expected = laid_out(one) + laid_out(two)
    torch.testing.assert_close(one.whole(SHAPE).data, laid_out(one), rtol=0, atol=0)
    torch.testing.assert_close(one.plus(two, SHAPE).whole(SHAPE).data, expected, rtol=0, atol=0)
    kept = laid_out(one)
    cut = one.inside(SHAPE)
    torch.testing.assert_close(cut.whole(SHAPE).data, kept, rtol=0, atol=0)
    outside = cut.data.clone()
    for i in range(3):
        rows, cols = (
            [p for p in range(cut.data.shape[dim]) if 0 <= starts[i] + p < SHAPE[dim]]
            for dim, starts in cut.axes
        )
        outside[i][:, [[r] for r in rows], cols] = 0
    assert not outside.any()  # what lies over an edge is no signal
    assert all(cut.data.shape[dim] <= SHAPE[dim] for dim in (2, 3))


def test_what_others_hold_is_never_changed():
    shared = Windows(
        torch.ones(1, 2, 3, 3), tuple((dim, np.zeros(1, np.int64)) for dim in (2, 3)), fresh=False
    )
    total = shared.plus(Windows(torch.ones(1, 2, 3, 3)), (1, 2, 3, 3))
    assert total.data.eq(2).all()
    assert shared.data.eq(1).all()


def test_the_signals_of_units_stand_in_their_cells():
    places, values = [(1, 0, 13), (0, 4, 5), (1, 10, 0)], torch.tensor([2.0, -3.0, 5.0]).double()
    maps = Windows.at(places, values, 2).whole(SHAPE).data
    expected = torch.zeros(SHAPE).double()
    for unit, (place, value) in enumerate(zip(places, values, strict=True)):
        expected[unit][place] = value
    assert torch.equal(maps, expected)


def test_the_signals_of_fully_connected_units_have_no_windows():
    found = Windows.at([(2,), (0,)], torch.tensor([2.0, 3.0]), 4)
    assert found.axes == ()
    assert found.data.tolist() == [[0, 0, 2, 0], [3, 0, 0, 0]]


def test_halves_are_the_first_and_the_last_units():
    windows = random_windows(np.random.default_rng(0), (3, 4))
    first, last = windows.halves()
    whole = windows.whole(SHAPE).data
    assert (len(first.data), len(last.data)) == (1, 2)
    assert torch.equal(torch.cat([half.whole(SHAPE).data for half in (first, last)]), whole)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("image_of", [None, [1, 1, 0]])
def test_values_on_windows_are_those_of_their_cells_and_over_an_edge_the_edges(seed, image_of):
    """*Convention*: over an edge stands the value at the edge."""
    windows = random_windows(np.random.default_rng(seed), (5, 6))
    maps = torch.randn(3 if image_of is None else 2, *SHAPE[1:])
    found = windows.of(maps, None if image_of is None else torch.tensor(image_of))
    (_, tops), (_, lefts) = windows.axes
    for unit, row, col in np.ndindex(3, 5, 6):
        h, w = min(max(tops[unit] + row, 0), 10), min(max(lefts[unit] + col, 0), 13)
        own = maps[unit if image_of is None else image_of[unit]]
        assert torch.equal(found[unit, :, row, col], own[:, h, w])


def test_windows_that_are_the_map_cover_it():
    maps = Windows(torch.randn(SHAPE))
    assert maps.on_axes((2, 3)).covers(SHAPE)
    moved = Windows(maps.data, ((2, np.array([0, 1, 0])), (3, np.zeros(3, np.int64))))
    assert not moved.covers(SHAPE)
    assert not Windows(maps.data[:, :, 1:]).on_axes((2, 3)).covers(SHAPE)


def test_a_map_is_laid_out_along_a_dimension_only_where_windows_lie_along_it():
    windows = random_windows(np.random.default_rng(1), (3, 4))
    assert windows.along(1, SHAPE) is windows
    found = windows.along(3, SHAPE)
    assert found.axes == ()
    assert torch.equal(found.data, laid_out(windows))


def test_two_signals_lie_alike_if_all_windows_do():
    windows = random_windows(np.random.default_rng(2), (3, 4))
    other = windows.with_data(torch.randn(3, 2, 3, 4))
    assert windows.lies_as(other)
    assert not windows.lies_as(windows.with_data(torch.randn(3, 2, 3, 5)))
    assert not windows.lies_as(windows.whole(SHAPE))
    (rows, tops), cols = windows.axes
    assert not windows.lies_as(Windows(other.data, ((rows, tops + np.array([0, 0, 1])), cols)))


def test_maps_are_kept_with_their_channels_last_and_others_as_they_are():
    maps, tokens = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4)
    assert in_order(maps).is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(in_order(maps), maps)
    assert in_order(tokens) is tokens
