"""Timing what a computer does beside other work: several times, the quickest of them counts, and what it may take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

Clock = Callable[[], float]
"""Seconds that only grow, such as `time.perf_counter`."""

_MOST_TIMES, _MOST_S, _LEAST_SPREAD = 5, 1.0, 1.5


@dataclass(frozen=True)
class Span:
    """Seconds that something takes, roughly.

    Attributes:
        low: At least, with the machine to itself.
        high: At most, as long as other work on the machine does not get more.
    """

    low: float = 0.0
    high: float = 0.0

    def __add__(self, other: Span) -> Span:
        """Return the seconds of both, one after the other."""
        return Span(self.low + other.low, self.high + other.high)

    def __mul__(self, times: int | float) -> Span:
        """Return the seconds of so many times."""
        return Span(self.low * times, self.high * times)

    def without(self, other: Span) -> Span:
        """Return the seconds that are left without those of a part; none below zero."""
        return Span(max(self.low - other.low, 0.0), max(self.high - other.high, 0.0))


def time_of(call: Callable[[], object], clock: Clock) -> Span:
    """Return the seconds of a call: the least of several, to the median or half as much again.

    *Convention*: the first call is not timed, as it allocates memory that later ones use again; the others are at most
    five, and none is begun after a second.
    """
    call()
    taken: list[float] = []
    while len(taken) < _MOST_TIMES and sum(taken) < _MOST_S:
        begin = clock()
        call()
        taken.append(clock() - begin)
    return Span(min(taken), max(median(taken), _LEAST_SPREAD * min(taken)))
