"""Jobs: what a probe computes, one after another in the background, each with its progress and a way to stop it."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from secrets import token_hex
from threading import Event, Lock
from typing import Any, Literal

from backlight.errors import BacklightError, BadInputError, first_line
from backlight.progress import Progress
from backlight.web.probe.limits import MOST_JOBS, MOST_WAITING

Status = Literal["waiting", "running", "done", "stopped", "failed"]
Work = Callable[[Progress], Any]
"""What a job does: it reports its progress, and returns plain data, a frozen dataclass."""

_log = logging.getLogger(__name__)


class Stopped(KeyboardInterrupt):
    """Raised where a job that is to stop reports its progress; as Ctrl-C would, so that an inversion keeps its best."""


class TooBusy(BadInputError):  # noqa: N818  (it is what the page says)
    """So many jobs wait already."""


@dataclass(frozen=True)
class JobState:
    """How far a job is.

    Attributes:
        id: Its name.
        status: Where it is: `waiting`, `running`, `done`, `stopped` or `failed`.
        ahead: Number of jobs before it.
        phase: What it is doing.
        done: How much of that is done.
        total: How much there is in all; 0 where that is not known.
        message: Why it failed; empty otherwise.
        result: What it found; None before it is done.
    """

    id: str
    status: Status
    ahead: int
    phase: str
    done: int
    total: int
    message: str
    result: Any


class _Job:
    def __init__(self) -> None:
        self.id, self.stop, self.progress = token_hex(8), Event(), ("", 0, 0)
        self.future: Future[Any]

    def report(self, phase: str, done: int, total: int) -> None:
        self.progress = phase, done, total
        if self.stop.is_set():
            raise Stopped

    def run(self, work: Work) -> Any:
        self.report("", 0, 0)
        return work(self.report)


class Jobs:
    """A queue of jobs, of which one runs at a time."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "probe")
        self._jobs: OrderedDict[str, _Job] = OrderedDict()
        self._lock = Lock()

    def submit(self, work: Work) -> str:
        """Put a job at the end of the queue, and return its name.

        Raises:
            TooBusy: So many wait already.
        """
        with self._lock:
            open_ones = [job for job in self._jobs.values() if not job.future.done()]
            if len(open_ones) > MOST_WAITING:
                raise TooBusy(f"{len(open_ones)} jobs are running or waiting; stop some, or wait")
            job = _Job()
            self._jobs[job.id] = job
            job.future = self._pool.submit(job.run, work)
            for old in self._ended()[:-MOST_JOBS]:
                del self._jobs[old]
            return job.id

    def state(self, job_id: str) -> JobState | None:
        """Return how far a job is; None for one that is not known."""
        with self._lock:
            job = self._jobs.get(job_id)
            if job is None:
                return None
            before = [own for own in self._jobs.values() if not own.future.done()]
            ahead = before.index(job) if job in before else 0
        status, message, result = _status(job.future)
        return JobState(job.id, status, ahead, *job.progress, message, result)

    def stop(self, job_id: str) -> None:
        """Stop a job: one that waits never runs, one that runs ends where it next reports its progress."""
        with self._lock:
            job = self._jobs.get(job_id)
        if job is not None:
            job.stop.set()
            job.future.cancel()

    def close(self) -> None:
        """Stop all jobs, and wait for the one that runs."""
        with self._lock:
            jobs = list(self._jobs.values())
        for job in jobs:
            job.stop.set()
        self._pool.shutdown(cancel_futures=True)

    def _ended(self) -> Sequence[str]:
        return [job_id for job_id, job in self._jobs.items() if job.future.done()]


def _status(future: Future[Any]) -> tuple[Status, str, Any]:
    """Return where a job is, why it failed, and what it found."""
    if not future.done():
        return ("running" if future.running() else "waiting"), "", None
    if future.cancelled():
        return "stopped", "", None
    error = future.exception()
    if error is None:
        return "done", "", future.result()
    if isinstance(error, Stopped):
        return "stopped", "", None
    if not isinstance(error, BacklightError):
        _log.error("a probe failed", exc_info=error)
        return "failed", f"this failed: {first_line(error)}", None
    return "failed", str(error), None
