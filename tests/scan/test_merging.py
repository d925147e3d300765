"""Parts of a scan merge to the whole, also where later parts leave out what cannot enter it any more."""

from __future__ import annotations

from functools import reduce
from math import fsum
from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from backlight.scan import MapStatistics, TopHits

# Few values, so that ties are common: they go by the image id.
VALUES = st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0])


def hits_of(values: np.ndarray, ids: np.ndarray, start: TopHits) -> TopHits:
    places = np.stack([ids[:, None] + np.zeros_like(values), np.zeros_like(values)], 2).astype(np.int32)
    return start.add(values.astype(np.float32), ids, places)


@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=30), st.integers(1, 5), st.data())
def test_parts_after_one_another_merge_to_the_whole(images: list, top: int, data: st.DataObject) -> None:  # type: ignore[type-arg]
    values, ids = np.array(images, np.float32), np.arange(len(images), dtype=np.int64)
    whole = hits_of(values, ids, TopHits.empty(2, top))
    n_cuts = data.draw(st.integers(0, 4))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(images)), min_size=n_cuts, max_size=n_cuts)))
    found = TopHits.empty(2, top)
    for start, stop in zip([0, *cuts], [*cuts, len(images)], strict=True):
        part = hits_of(values[start:stop], ids[start:stop], found.after())
        found = part.merge(found) if data.draw(st.booleans()) else found.merge(part)
    for name in ("values", "image_ids", "places"):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))


def test_a_part_leaves_out_what_is_weaker_than_the_bar() -> None:
    ids = np.arange(3, dtype=np.int64)
    first = hits_of(np.array([[5.0], [4.0], [3.0]]), ids, TopHits.empty(1, 2))
    part = hits_of(np.array([[1.0], [3.5], [4.0]]), ids + 3, first.after())
    assert part.image_ids.tolist() == [[5, -1]]
    assert part.values.tolist() == [[4.0, 4.0]]
    assert first.merge(part).image_ids.tolist() == [[0, 1]]


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
