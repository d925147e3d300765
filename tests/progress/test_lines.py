"""Progress without a terminal: a line every half minute or 5 %, by a clock that tests set."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from backlight.progress.lines import PHASES, PlainLines


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def report(clock: Clock, lines: list[str]) -> Callable[..., None]:
    return PlainLines(lines.append, clock)


def test_a_slow_phase_has_a_line_every_half_minute(
    report: Callable[..., None], clock: Clock, lines: list[str]
) -> None:
    for done in range(100):
        clock.now = 100.0 + done
        report("scan", done, 100_000)
    assert lines == [
        "scanning: 30 of 100,000 images (0%), 1.0 images/s, 27.8 h left",
        "scanning: 60 of 100,000 images (0%), 1.0 images/s, 27.8 h left",
        "scanning: 90 of 100,000 images (0%), 1.0 images/s, 27.8 h left",
    ]


def test_a_quick_phase_has_a_line_every_5_percent_but_not_more_than_one_in_two_seconds(
    report: Callable[..., None], clock: Clock, lines: list[str]
) -> None:
    for done in range(41):
        clock.now = 100.0 + done / 4
        report("project", done, 40)
    assert [line.split(" hits")[0] for line in lines] == [
        f"projecting: {done} of 40" for done in (8, 16, 24, 32, 40)
    ]
    assert lines[0] == "projecting: 8 of 40 hits (20%), 4.0 hits/s, 8 s left"
    assert lines[-1] == "projecting: 40 of 40 hits (100%), took 10 s"


def test_a_share_of_5_percent_is_waited_for(
    report: Callable[..., None], clock: Clock, lines: list[str]
) -> None:
    for done in range(7):
        clock.now = 100.0 + 3 * done
        report("scan", done, 100)
    assert [line[:30] for line in lines] == ["scanning: 5 of 100 images (5%)"]


def test_the_time_left_is_that_of_what_was_not_done_before(
    report: Callable[..., None], clock: Clock, lines: list[str]
) -> None:
    report("scan", 5_000, 10_000)
    clock.now += 50
    report("scan", 5_100, 10_000)
    assert lines == ["scanning: 5,100 of 10,000 images (51%), 2.0 images/s, 41 min left"]


def test_what_was_done_before_took_no_time_and_is_said_once(
    report: Callable[..., None], lines: list[str]
) -> None:
    report("scan", 12, 12)
    report("scan", 12, 12)
    assert lines == ["scanning: 12 of 12 images (100%)"]


def test_phases_are_timed_by_themselves_and_notes_stand_behind(
    report: Callable[..., None], clock: Clock, lines: list[str]
) -> None:
    report("compile", 0, 1)
    clock.now += 20
    report("compile", 1, 1)
    report("layer \x1b[1m", 0, 10, "")
    clock.now += 40
    report("layer \x1b[1m", 2, 10, "error 3.1%")
    assert lines == [
        "compiling: 1 of 1 (100%), took 20 s",
        "layer \\x1b[1m: 2 of 10 (20%), 3 min left, error 3.1%",
    ]


def test_one_thing_is_no_plural_and_nothing_is_no_division(
    report: Callable[..., None], clock: Clock, lines: list[str]
) -> None:
    report("scan", 0, 1)
    clock.now += 100
    report("scan", 1, 1)
    report("project", 0, 0)
    assert lines == ["scanning: 1 of 1 image (100%), took 2 min", "projecting: 0 of 0 hits (0%)"]


def test_slow_things_take_seconds_each(report: Callable[..., None], clock: Clock, lines: list[str]) -> None:
    report("remedies", 0, 8)
    clock.now += 45
    report("remedies", 2, 8)
    assert lines == ["trying: 2 of 8 networks (25%), 22.5 s each, 2 min left"]


def test_what_phases_count_is_a_plural_of_s() -> None:
    assert all(unit.endswith("s") for _, unit in PHASES.values() if unit)
