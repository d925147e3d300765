"""Statistics of feature maps add up to the bit, in any order and any split."""

from __future__ import annotations

from functools import reduce
from math import fsum
from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from backlight.scan import HISTOGRAM_EDGES, MapStatistics

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
