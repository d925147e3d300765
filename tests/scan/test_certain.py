"""Certain hits: whatever rounding does within its bound, what is said to be certain is true."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from backlight.scan.certain import (
    BOUND,
    EQUAL,
    Answer,
    Candidates,
    Question,
    Settled,
    apart,
    bounds_of,
    question_groups,
    questions_of,
    settle,
    strongest,
)

TOP, KEPT = 4, 6


def scanned(values: NDArray[np.float64], bound: float, kept: int = KEPT) -> Candidates:
    """Return what a scan keeps of images with these strongest activations, image by image."""
    ids = np.lexsort((np.arange(len(values)), -values))[:kept]
    empty = kept - len(ids)
    found = np.append(values[ids], np.full(empty, -np.inf)).astype(np.float32)
    return Candidates.among(
        found, np.append(ids, np.full(empty, -1)).astype(np.int64), np.zeros((kept, 2), np.int32), bound
    )


def asked(candidates: Candidates, exact: NDArray[np.float64], top: int = TOP) -> dict[int, Answer]:
    """Return the answers to what is contested, and to nothing else."""
    ids = candidates.image_ids[candidates.contested(top)].tolist()
    return {i: Answer(0, 0, i, float(exact[i]), 7, 8) for i in ids}


def settled(measured: NDArray[np.float64], exact: NDArray[np.float64], bound: float) -> Settled:
    candidates = scanned(measured, bound)
    return settle(candidates, asked(candidates, exact), TOP)


def true_order(exact: NDArray[np.float64]) -> list[int]:
    return [int(i) for i in np.lexsort((np.arange(len(exact)), -exact)) if exact[i] > 0]


@st.composite
def perturbed(draw: st.DrawFn) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return exact activations, many of them equal or nearly so, and what rounding within a bound of 1 makes of it."""
    n = draw(st.integers(1, 14))
    # Multiples of 1/4: bounds, gaps of two bounds and ties occur; float32 holds them exactly.
    exact = np.array(draw(st.lists(st.integers(-4, 60), min_size=n, max_size=n))) / 4.0
    noise = np.array(draw(st.lists(st.integers(-4, 4), min_size=n, max_size=n))) / 4.0
    return exact, exact + noise


@given(perturbed())
def test_certain_ranks_are_the_true_ranks(drawn: tuple[NDArray[np.float64], NDArray[np.float64]]) -> None:
    exact, measured = drawn
    found = settled(measured, exact, 1.0)
    assert found.image_ids[: found.n_certain].tolist() == true_order(exact)[: found.n_certain]
    assert found.n_certain <= len(found.image_ids) <= TOP


@given(perturbed(), st.randoms(use_true_random=False))
def test_two_machines_agree_on_what_both_are_certain_of(
    drawn: tuple[NDArray[np.float64], NDArray[np.float64]], random: object
) -> None:
    exact, measured = drawn
    other = exact + np.array([random.uniform(-1, 1) for _ in exact])  # type: ignore[attr-defined]
    here, there = settled(measured, exact, 1.0), settled(other, exact, 1.0)
    n = min(here.n_certain, there.n_certain)
    assert here.image_ids[:n].tolist() == there.image_ids[:n].tolist()


@given(perturbed())
def test_values_never_rise_along_the_ranks(drawn: tuple[NDArray[np.float64], NDArray[np.float64]]) -> None:
    exact, measured = drawn
    found = settled(measured, exact, 1.0)
    assert (np.diff(found.values) <= 0).all()
    assert (found.values > 0).all()


def test_wide_gaps_are_certain_without_being_asked_about() -> None:
    values = np.array([50.0, 40, 30, 20, 10])
    candidates = scanned(values, 1.0)
    assert not candidates.contested(TOP).any()
    found = settle(candidates, {}, TOP)
    assert (found.image_ids.tolist(), found.values.tolist(), found.n_certain) == (
        [0, 1, 2, 3],
        [50, 40, 30, 20],
        4,
    )


def test_a_gap_of_two_bounds_is_contested_and_a_wider_one_is_not() -> None:
    near, wide = np.array([30.0, 28, 10]), np.array([30.0, 30 - apart(1.0) - 1e-3, 10])
    assert scanned(near, 1.0).contested(TOP).tolist() == [True, True, False]
    assert not scanned(wide, 1.0).contested(TOP).any()


def test_a_run_that_begins_behind_the_first_ranks_is_left_alone() -> None:
    values = np.array([70.0, 60, 50, 40, 10, 9.5])
    assert not scanned(values, 1.0).contested(TOP).any()
    joined = np.array([70.0, 60, 50, 10.4, 10, 9.5])
    # Six are kept, so there may be a seventh as strong as the last; none of the run is above that for certain.
    assert scanned(joined, 1.0).contested(TOP).tolist() == [False] * 3 + [True] * 3
    assert settled(joined, joined, 1.0).n_certain == 3


def test_what_is_above_all_that_may_follow_is_certain_though_its_run_has_no_end() -> None:
    measured = np.array([9.0, 8, 7, 6, 5, 4, 3, 2])
    exact = measured + np.array([0, 0.5, 0, 0, 0.5, 0, 0, 0])
    found = settled(measured, exact, 1.0)
    # The last one kept has 4, so that an image left out has 5 at most: 9, 8.5, 7 and 6 are above.
    assert (found.image_ids.tolist(), found.n_certain) == ([0, 1, 2, 3], 4)
    assert settled(measured / 8, exact / 8, 1.0).n_certain == 0


def test_equal_hits_are_in_the_order_of_their_ids_whatever_float64_adds() -> None:
    measured = np.array([5.0, 10, 10, 10])
    exact = np.array([5.0, 10, 10 + 1e-15, 10 - 1e-15])
    found = settled(measured, exact, 1.0)
    assert (found.image_ids.tolist(), found.n_certain) == ([1, 2, 3, 0], 4)
    assert found.values[0] == found.values[1] == found.values[2]
    # Beyond what counts as equal, value decides.
    exact[3] = 10 + 2 * EQUAL
    assert settled(measured, exact, 1.0).image_ids.tolist() == [3, 1, 2, 0]


def test_hits_near_zero_are_decided_and_what_is_not_above_zero_is_no_hit() -> None:
    measured = np.array([50.0, 1.5, 0.5, 0, 0])
    found = settled(measured, np.array([50.0, 1.75, -0.25, 0.75, 0]), 1.0)
    # The fourth image may be anything up to the bound: 1.75 is above that.
    assert (found.image_ids.tolist(), found.n_certain) == ([0, 1], 2)
    found = settled(measured, np.array([50.0, 1.75, 0.25, 0.75, 0]), 1.0)
    assert (found.image_ids.tolist(), found.n_certain) == ([0, 1, 2], 2)


def test_a_map_for_which_the_bound_does_not_hold_has_no_certain_hit() -> None:
    measured = np.array([50.0, 20, 19, 5])
    assert settled(measured, np.array([50.0, 20, 20.1, 5]), 1.0).n_certain == 0
    assert settled(measured, np.array([50.0, 20, 19.9, 5]), 1.0).n_certain == 4


def test_a_hit_that_is_asked_about_and_not_answered_is_not_certain() -> None:
    candidates = scanned(np.array([50.0, 20, 19, 5]), 1.0)
    assert settle(candidates, {}, TOP).n_certain == 1


def test_dead_maps_have_nothing_to_settle() -> None:
    found = settled(np.zeros(8), np.zeros(8), 0.0)
    assert (len(found.values), found.n_certain) == (0, 0)


def test_a_bound_goes_with_the_map_but_not_below_that_of_its_layer() -> None:
    maxima = np.array([8.0, 4, 4, 1e-6, 0, -3], np.float32)
    assert bounds_of(maxima).tolist() == [BOUND * scale for scale in (8, 4, 4, 4, 4, 4)]
    assert bounds_of(np.array([0.0, -1], np.float32)).tolist() == [0, 0]


def test_coarser_numbers_have_wider_bounds_and_finer_ones_no_narrower() -> None:
    maxima = np.array([1.0], np.float32)
    half, double = (bounds_of(maxima, float(np.finfo(kind).eps)) for kind in (np.float16, np.float64))
    assert half[0] == pytest.approx(2**13 * BOUND)
    assert double[0] == BOUND


def test_the_first_place_that_reaches_the_maximum_counts() -> None:
    values = np.array([[1.0, 2, 3], [3 + 1e-12, 2, 3]])
    assert strongest(values, 3 * BOUND) == (3 + 1e-12, 0, 2)
    values[1, 0] = 3 + 1e-6
    assert strongest(values, 3 * BOUND) == (3 + 1e-6, 1, 0)


def test_questions_are_about_places_of_hits_and_about_what_is_contested() -> None:
    candidates = scanned(np.array([70.0, 60, 40.5, 40, 39.5, 10]), 1.0)
    assert list(questions_of(2, 5, candidates, TOP, has_places=False)) == [
        Question(2, 5, 2, 40.5, 1.0, True),
        Question(2, 5, 3, 40.0, 1.0, True),
        Question(2, 5, 4, 39.5, 1.0, True),
    ]
    places = list(questions_of(2, 5, candidates, TOP, has_places=True))
    assert [(q.image_id, q.is_contested) for q in places] == [
        (0, False),
        (1, False),
        (2, True),
        (3, True),
        (4, True),
    ]


def test_questions_are_grouped_by_image_and_each_image_is_in_one_group() -> None:
    questions = [Question(0, channel, image, 1.0, 0.1, False) for channel in range(3) for image in (9, 4, 7)]
    first, second = question_groups(questions, 2)
    assert (first.image_ids, second.image_ids) == ((4, 7), (9,))
    assert [(q.image_id, q.channel) for q in first.questions] == [
        (image, channel) for image in (4, 7) for channel in range(3)
    ]
    assert {*first.questions, *second.questions} == set(questions)
