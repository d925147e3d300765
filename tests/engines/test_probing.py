"""Timing beside other work: by clocks that say how long each call takes."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from backlight.engines.probing import Clock, Span, time_of


def clock_of(taken: Iterable[float]) -> Clock:
    """Return a clock by which the calls between two readings take so long."""
    readings, now = [0.0], 0.0
    for seconds in taken:
        readings += [now + seconds, now + seconds]
        now += seconds
    left = iter(readings)
    return lambda: next(left)


@pytest.mark.parametrize(
    ("taken", "found"),
    [
        ([0.125] * 5, Span(0.125, 0.1875)),  # alone on the machine
        ([0.0625, 0.5, 0.0625, 0.0625, 0.125], Span(0.0625, 0.09375)),  # one call was held up
        ([0.25, 0.125, 0.25, 0.25, 0.25], Span(0.125, 0.25)),  # half of them were
        ([90.0], Span(90.0, 135.0)),  # a call so long is not repeated
        ([0.5, 0.5], Span(0.5, 0.75)),
    ],
)
def test_the_quickest_of_several_calls_counts(taken: list[float], found: Span) -> None:
    calls = []
    assert time_of(lambda: calls.append(0), clock_of(taken)) == found
    assert len(calls) == len(taken) + 1  # the first is not timed


def test_spans_add_and_grow_and_never_fall_below_nothing() -> None:
    assert Span(1.0, 2.0) + Span(3.0, 5.0) * 2 == Span(7.0, 12.0)
    assert Span(3.0, 5.0).without(Span(1.0, 2.0)) == Span(2.0, 3.0)
    assert Span(1.0, 2.0).without(Span(3.0, 1.0)) == Span(0.0, 1.0)
    assert Span() + Span(1.0, 2.0) == Span(1.0, 2.0)
