"""Jobs: one at a time and in order, stopped where they are, and no failure is lost."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from threading import Event
from typing import Any

import pytest

from backlight.errors import ActivationError
from backlight.progress import Progress
from backlight.web.probe import jobs as module
from backlight.web.probe.jobs import Jobs, JobState, Stopped, TooBusy

LONG = 60


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    found = Jobs()
    yield found
    found.close()


class Held:
    """Work that begins, and goes on when it is told to."""

    def __init__(self, result: Any = None) -> None:
        self.began, self.goes_on, self.result = Event(), Event(), result

    def __call__(self, progress: Progress) -> Any:
        progress("waiting", 1, 4)
        self.began.set()
        assert self.goes_on.wait(LONG)
        progress("waiting", 2, 4)
        return self.result


def ended(jobs: Jobs, job_id: str) -> JobState:
    """Return the state of a job that has ended, waiting for it."""
    with suppress(CancelledError):
        jobs._jobs[job_id].future.exception(LONG)
    state = jobs.state(job_id)
    assert state is not None
    return state


def test_jobs_run_one_after_another_and_say_how_far_they_are(jobs: Jobs) -> None:
    first, second = Held("a"), Held("b")
    one, two = jobs.submit(first), jobs.submit(second)
    assert first.began.wait(LONG)
    running, waiting = jobs.state(one), jobs.state(two)
    assert running is not None
    assert waiting is not None
    assert (running.status, running.phase, running.done, running.total) == ("running", "waiting", 1, 4)
    assert (waiting.status, waiting.ahead, running.ahead) == ("waiting", 1, 0)
    assert not second.began.is_set()
    first.goes_on.set()
    second.goes_on.set()
    assert (ended(jobs, one).result, ended(jobs, two).result) == ("a", "b")
    assert ended(jobs, two).status == "done"


def test_a_job_that_runs_stops_where_it_reports_and_one_that_waits_never_runs(jobs: Jobs) -> None:
    first, second, third = Held(), Held(), Held("c")
    one, two, three = (jobs.submit(work) for work in (first, second, third))
    assert first.began.wait(LONG)
    jobs.stop(two)
    jobs.stop(one)
    for work in (first, third):
        work.goes_on.set()
    assert ended(jobs, one).status == "stopped"
    assert ended(jobs, two).status == "stopped"
    assert ended(jobs, three).result == "c"
    assert not second.began.is_set()


def test_work_may_keep_what_it_has_when_it_is_stopped(jobs: Jobs) -> None:
    began = Event()

    def work(progress: Progress) -> int:
        n = 0
        try:
            while True:
                progress("counting", n, 0)
                began.set()
                n += 1
        except KeyboardInterrupt:
            return n

    one = jobs.submit(work)
    assert began.wait(LONG)
    jobs.stop(one)
    state = ended(jobs, one)
    assert state.status == "done"
    assert state.result >= 1
    assert issubclass(Stopped, KeyboardInterrupt)


def test_a_failure_says_why(jobs: Jobs, caplog: pytest.LogCaptureFixture) -> None:
    def wrong(progress: Progress) -> None:
        raise ActivationError("not finite")

    def broken(progress: Progress) -> None:
        raise ZeroDivisionError("of a kind nobody thought of\nand more")

    one, two = jobs.submit(wrong), jobs.submit(broken)
    assert (ended(jobs, one).status, ended(jobs, one).message) == ("failed", "not finite")
    assert ended(jobs, two).message == "this failed: of a kind nobody thought of"
    assert "a probe failed" in caplog.text


def test_so_many_may_wait_and_so_many_are_remembered(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 2)
    monkeypatch.setattr(module, "MOST_JOBS", 3)
    first = Held()
    names = [jobs.submit(first), *(jobs.submit(lambda _: 1) for _ in range(2))]
    with pytest.raises(TooBusy, match="3 jobs are running or waiting"):
        jobs.submit(lambda _: 1)
    first.goes_on.set()
    for name in names:
        ended(jobs, name)
    for _ in range(4):
        names.append(jobs.submit(lambda _: 1))
        ended(jobs, names[-1])
    assert [jobs.state(name) is not None for name in names] == [False] * 3 + [True] * 4
    assert jobs.state("never") is None
    jobs.stop("never")


def test_closing_stops_all(jobs: Jobs) -> None:
    first, second = Held(), Held()
    one, two = jobs.submit(first), jobs.submit(second)
    assert first.began.wait(LONG)
    first.goes_on.set()
    jobs.stop(two)
    jobs.close()
    assert ended(jobs, one).status in ("done", "stopped")
    assert ended(jobs, two).status == "stopped"
    assert not second.began.is_set()
