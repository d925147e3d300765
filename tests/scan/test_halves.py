"""The halves of the images: any scan tells them apart alike, and their agreement is that of independent sets."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from backlight.scan import HalvedHits, TopHits
from backlight.scan.halves import TOLERANCE, in_second_half

ARRAYS = ("values", "image_ids", "places")


def hits_of(values: NDArray[np.float32], start: HalvedHits, first_id: int = 0) -> HalvedHits:
    """Return the hits with (n, c) values of images added, in one batch."""
    ids = np.arange(first_id, first_id + len(values), dtype=np.int64)
    places = np.stack([ids[:, None] + np.zeros(values.shape, np.int64)] * 2, 2).astype(np.int32)
    return start.add(np.asarray(values, np.float32), ids, places)


def stability_of(values: NDArray[np.float32], top: int = 9) -> tuple[list[int], list[int]]:
    found = hits_of(values, HalvedHits.empty(values.shape[1], top)).stability()
    assert found is not None
    return found[0].tolist(), found[1].tolist()


def test_the_half_of_an_image_depends_on_its_id_alone_and_never_changes() -> None:
    assert in_second_half(np.arange(24)).astype(int).tolist() == [
        *(0, 1, 0, 0, 1, 0, 0, 0, 1, 0, 1, 0),
        *(1, 1, 1, 1, 1, 0, 1, 0, 1, 1, 1, 1),
    ]
    assert in_second_half(np.array([23, 4, 3])).tolist() == [True, True, False]


def test_halves_are_of_equal_size_and_tell_nothing_of_the_order() -> None:
    halves = in_second_half(np.arange(100_000))
    assert abs(halves.mean() - 0.5) < 0.005
    for step in (1, 2, 3, 8, 32, 256, 1000):  # nor of batches, shards or frames of a film
        assert abs((halves[step:] == halves[:-step]).mean() - 0.5) < 0.01


# Few values, so that ties are common: they go by the image id.
VALUES = st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0])


@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=40), st.integers(1, 5), st.data())
def test_halves_of_any_batches_and_shards_are_the_same_and_merge_to_the_hits(
    images: list[tuple[float, float]], top: int, data: st.DataObject
) -> None:
    values = np.array(images, np.float32)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(images)), max_size=4)))
    found = HalvedHits.empty(2, top)
    for start, stop in zip([0, *cuts], [*cuts, len(images)], strict=True):
        part, size = found.after(), data.draw(st.integers(1, 9))
        for i in range(start, stop, size):
            part = hits_of(values[i : min(i + size, stop)], part, i)
        found = part.merge(found) if data.draw(st.booleans()) else found.merge(part)
    ids = np.arange(len(images))
    whole = TopHits.empty(2, top).add(
        values, ids, np.stack([ids[:, None].repeat(2, 1)] * 2, 2).astype(np.int32)
    )
    halves = in_second_half(ids)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(found.together, name), getattr(whole, name))
    for own, part in zip((~halves, halves), found.parts, strict=True):
        for channel in range(2):
            best = sorted((-values[i, channel], i) for i in ids[own])[:top]
            kept = part.image_ids[channel]
            assert kept[kept >= 0].tolist() == [i for _, i in best]


def test_a_scan_that_did_not_tell_the_halves_apart_goes_on_without() -> None:
    values = np.random.default_rng(0).random((40, 3)).astype(np.float32)
    begun, fresh = (
        hits_of(values[:20], HalvedHits.empty(3, 4)),
        hits_of(values[20:], HalvedHits.empty(3, 4), 20),
    )
    earlier = HalvedHits.from_arrays(vars(begun.together))
    whole = hits_of(values, HalvedHits.empty(3, 4)).together
    merged = [earlier.merge(fresh), fresh.merge(earlier), hits_of(values[20:], earlier, 20)]
    merged += [earlier.merge(hits_of(values[20:], earlier.after(), 20))]
    for found in (*merged, *(HalvedHits.from_arrays(own.to_arrays()) for own in merged)):
        for name in ARRAYS:
            np.testing.assert_array_equal(getattr(found.together, name), getattr(whole, name))
        assert found.stability() is None
    again = HalvedHits.from_arrays(begun.to_arrays())
    assert [own.tolist() for own in again.stability() or ()] == [
        own.tolist() for own in begun.stability() or ()
    ]


# --- the number ---------------------------------------------------------------------------------------------


def by_plain_loops(one: list[float], other: list[float]) -> int:
    """Return the stability of one map from the top values of both halves: every deal, one by one."""
    n = len(one)

    def equal(a: float, b: float) -> bool:
        return min(a, b) > 0 and np.float32(min(a, b)) >= np.float32(1 - TOLERANCE) * np.float32(max(a, b))

    values, total = sorted(one + other, reverse=True), 0
    for coins in product((False, True), repeat=2 * n):
        dealt = [[v for v, coin in zip(values, coins, strict=True) if coin == half] for half in (False, True)]
        n_filled = min(n, *map(len, dealt))
        for r in range(n):
            total += equal(dealt[0][r], dealt[1][r]) if r < n_filled else equal(one[r], other[r])
    return int(total / 4**n + 0.5)


@pytest.mark.parametrize("tail", [0.01, 0.05, 0.1, 0.3, 1.0])
def test_the_number_is_the_mean_over_all_deals(tail: float) -> None:
    generator = np.random.default_rng(int(100 * tail))
    values = np.exp(tail * generator.exponential(size=(60, 4))).astype(np.float32)
    values[5:, 3] = 0  # a map with few hits
    found = hits_of(values, HalvedHits.empty(4, 4))
    assert stability_of(values, 4)[0] == [
        by_plain_loops(*(part.values[channel].tolist() for part in found.parts)) for channel in range(4)
    ]


def saturated(generator: np.random.Generator, n: int) -> NDArray[np.float64]:
    return np.minimum(generator.exponential(size=n), 2)


def one_outlier(generator: np.random.Generator, n: int) -> NDArray[np.float64]:
    return np.append(generator.random(n - 1), 10)


def exponential(generator: np.random.Generator, n: int) -> NDArray[np.float64]:
    return generator.exponential(size=n)


def half_normal(generator: np.random.Generator, n: int) -> NDArray[np.float64]:
    return np.abs(generator.normal(size=n))


def heavy(generator: np.random.Generator, n: int) -> NDArray[np.float64]:
    return 1 + generator.pareto(3, n)


def heaviest(generator: np.random.Generator, n: int) -> NDArray[np.float64]:
    return 1 + generator.pareto(1, n)


Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]


@pytest.mark.parametrize(("draw", "expected"), [(saturated, 9), (one_outlier, 8)])
def test_a_saturated_map_is_stable_and_one_outlier_costs_one_rank(draw: Draw, expected: int) -> None:
    generator = np.random.default_rng(3)
    maps = np.stack([draw(generator, 1000) for _ in range(20)], 1).astype(np.float32)
    assert stability_of(maps) == ([expected] * 20, [9] * 20)


@pytest.mark.parametrize("draw", [exponential, half_normal, heavy, heaviest])
def test_the_number_is_that_of_independent_sets_of_half_the_size_and_less_noisy(draw: Draw) -> None:
    generator, n = np.random.default_rng(7), 600
    maps = np.stack([draw(generator, n) for _ in range(400)], 1).astype(np.float32)
    found = np.array(stability_of(maps)[0])
    tops = [-np.sort([-draw(generator, n // 2) for _ in range(800)], 1)[:, :9] for _ in range(2)]
    true = (np.minimum(*tops) >= (1 - TOLERANCE) * np.maximum(*tops)).sum(1)
    assert abs(found.mean() - true.mean()) < 0.4
    assert found.std() < 0.65 * true.std()
    assert found.std() < 1.5


def test_maps_are_told_apart_by_their_tails() -> None:
    generator = np.random.default_rng(1)
    means = [
        np.mean(stability_of(np.stack([draw(generator, 600) for _ in range(50)], 1).astype(np.float32))[0])
        for draw in (heaviest, heavy, exponential, half_normal, saturated)
    ]
    assert (np.diff(means) > 1).all()


def test_the_weaker_hit_must_reach_nine_tenths_of_the_stronger_the_end_included() -> None:
    ids = np.arange(2)  # one of each half
    for weaker, expected in ((0.9, 1), (np.nextafter(np.float32(0.9), np.float32(0)), 0)):
        found = hits_of(np.array([[1.0], [weaker]], np.float32), HalvedHits.empty(1, 1)).stability()
        # Half of the deals give both values to one half: there the halves as they are count.
        assert found is not None
        assert (in_second_half(ids).tolist(), found[0].tolist(), found[1].tolist()) == (
            [False, True],
            [expected],
            [1],
        )


def test_ranks_without_a_hit_in_either_half_do_not_count_and_a_dead_map_has_none() -> None:
    values = np.zeros((20, 3), np.float32)
    values[[0, 1, 2], 0] = 1  # images 0 and 2 lie in the first half, image 1 in the second
    values[:, 2] = -1
    n, of = stability_of(values)
    assert of == [2, 0, 0]
    assert n[1:] == [0, 0]
    assert n[0] == 1


def test_no_more_than_nine_ranks_are_compared_however_many_hits_are_kept() -> None:
    values = np.random.default_rng(2).random((500, 6)).astype(np.float32)
    assert stability_of(values, 40) == stability_of(values, 9)
    assert stability_of(values, 3)[1] == [3] * 6
