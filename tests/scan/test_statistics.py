"""Statistics of feature maps add up to the bit, in any order and any split."""

from __future__ import annotations

from functools import reduce
from math import fsum
from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from backlight.scan import HISTOGRAM_EDGES, N_BINS, MapStatistics

MEANS = st.floats(-(2.0**20), 2.0**20, width=32).filter(lambda m: m == 0 or abs(m) > 1e-16)


@given(st.lists(MEANS, min_size=1, max_size=40), st.randoms(use_true_random=False), st.integers(1, 7))
def test_means_add_up_to_the_bit_in_any_order_and_split(
    values: list[float], random: Random, size: int
) -> None:
    def summed(ordered: list[float]) -> MapStatistics:
        column = np.array(ordered, np.float32)[:, None]
        parts = [column[start : start + size] for start in range(0, len(column), size)]
        own = [MapStatistics.empty(1).add(part, part) for part in parts]
        return reduce(MapStatistics.merge, own, MapStatistics.empty(1))

    shuffled = random.sample(values, len(values))
    whole = MapStatistics.empty(1).add(*[np.array(values, np.float32)[:, None]] * 2)
    for own in (summed(values), summed(shuffled)):
        np.testing.assert_array_equal(own.sum_parts, whole.sum_parts)
    exact = fsum(values) / len(values)
    np.testing.assert_allclose(whole.means, [exact], rtol=1e-6, atol=1e-12 * max(map(abs, values)))


def test_the_histogram_counts_inactive_images_apart_and_has_fixed_edges() -> None:
    maxima = np.array([[-1.0], [0.0], [1e-9], [1.0], [1.0001], [1e9]], np.float32)
    histogram = MapStatistics.empty(1).add(maxima, maxima).histogram[0]
    one = int(np.flatnonzero(HISTOGRAM_EDGES == 1.0)[0])
    assert histogram[0] == 2  # at most 0
    assert histogram[1] == 1  # (0, 2^-12]
    assert histogram[one] == 1  # the upper edge belongs to the bin below it
    assert histogram[one + 1] == 1
    assert histogram[-1] == 1


def test_no_image_has_no_mean_and_no_maximum() -> None:
    nothing = MapStatistics.empty(2)
    assert nothing.n_images == 0
    assert nothing.means.tolist() == nothing.active_shares.tolist() == [0.0, 0.0]
    assert nothing.maxima.tolist() == [-np.inf, -np.inf]
    assert nothing.histogram.shape == (2, N_BINS)
    batch = np.zeros((0, 2), np.float32)
    assert nothing.add(batch, batch).n_images == 0


def test_each_map_has_its_own_mean_maximum_and_share_of_active_images() -> None:
    maxima = np.array([[1.0, -2.0], [0.0, 3.0], [4.0, 0.5], [0.0, 0.5]], np.float32)
    means = np.array([[0.5, -3.0], [-1.0, 1.0], [2.0, 0.0], [0.0, 0.0]], np.float32)
    found = MapStatistics.empty(2).add(maxima[:1], means[:1]).add(maxima[1:], means[1:])
    assert found.n_images == 4
    assert found.maxima.tolist() == [4.0, 3.0]
    assert found.sums.tolist() == [1.5, -2.0]
    assert found.means.tolist() == [0.375, -0.5]
    assert found.active_shares.tolist() == [0.5, 0.75]
    assert found.histogram.sum(1).tolist() == [4, 4]
    assert found.histogram[:, 0].tolist() == [2, 1]  # not active: at most zero


def test_statistics_of_two_parts_merge_to_those_of_all() -> None:
    generator = np.random.default_rng(0)
    maxima, means = (generator.normal(size=(9, 3)).astype(np.float32) for _ in range(2))
    whole = MapStatistics.empty(3).add(maxima, means)
    one, other = (MapStatistics.empty(3).add(maxima[own], means[own]) for own in (slice(0, 4), slice(4, 9)))
    for merged in (one.merge(other), other.merge(one)):
        for name, value in vars(whole).items():
            np.testing.assert_array_equal(getattr(merged, name), value)


def test_edges_are_quarter_octaves_from_2_to_the_minus_12_to_2_to_the_12() -> None:
    assert HISTOGRAM_EDGES[0] == 0
    assert HISTOGRAM_EDGES[[1, -1]].tolist() == [2.0**-12, 2.0**12]
    np.testing.assert_allclose(HISTOGRAM_EDGES[2:] / HISTOGRAM_EDGES[1:-1], 2**0.25)
    assert len(HISTOGRAM_EDGES) + 1 == N_BINS
