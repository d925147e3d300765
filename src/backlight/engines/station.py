"""A station: a worker of a plan wherever it is, and the tasks that are sent to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, runtime_checkable

import torch

from backlight.engines.ledger import Ledger
from backlight.engines.local import Worker
from backlight.engines.plan import Plan, Shard
from backlight.engines.work import FinishedLight, FinishedTile, Group, LightGroup
from backlight.scan.certain import Answer, QuestionGroup


@dataclass(frozen=True)
class Task:
    """A call of a station. It may be done twice, by two stations: what comes out is the same.

    Attributes:
        method: Which.
        argument: What it is called with.
    """

    method: Literal["scan", "merge", "certify", "project", "light"]
    argument: Any


@runtime_checkable
class Crew(Protocol):
    """Stations that share tasks.

    Attributes:
        size: How many there are.
    """

    size: int

    def run(self, tasks: deque[Task]) -> Iterator[tuple[Task, Any]]:
        """Yield each task with its result, in the order in which they are done; the caller may add tasks meanwhile."""


class Station:
    """Does tasks of one plan.

    Args:
        plan: The plan.
        ledger: Where the files of its scan are.
        threads: torch's threads in this process; None leaves them as they are.
        device: Where the network runs; None where it is.
    """

    def __init__(
        self, plan: Plan, ledger: Ledger, threads: int | None = None, device: str | None = None
    ) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        if device is not None:
            plan = replace(plan, net=plan.net.to(device))
        self._plan, self._ledger, self._worker = plan, ledger, Worker(plan)

    def scan(self, shard: Shard) -> list[int]:
        """Scan a shard, write its file, and return the images of it that could not be read."""
        (partial,) = self._worker.scan([shard], alone=True)
        self._ledger.write(partial)
        return [own.id for own in partial.scan.skipped]

    def merge(self, shards: Sequence[Shard]) -> Shard | None:
        """Merge the files of shards; see `Ledger.merge`."""
        return self._ledger.merge(shards)

    def certify(self, group: QuestionGroup) -> tuple[Answer, ...]:
        """Return the answers to a group of questions about hits."""
        (answers,) = self._worker.certify([group])
        return answers

    def project(self, groups: Sequence[Group]) -> list[FinishedTile]:
        """Return the tiles of groups of hits."""
        return [tile for tiles in self._worker.project(groups) for tile in tiles]

    def light(self, groups: Sequence[LightGroup]) -> list[FinishedLight]:
        """Return what is kept of groups of images."""
        return list(self._worker.light(groups))

    def do(self, task: Task) -> Any:
        """Do a task."""
        return getattr(self, task.method)(task.argument)


class Alone:
    """One station, in this process."""

    size = 1

    def __init__(self, station: Station) -> None:
        self._station = station

    def run(self, tasks: deque[Task]) -> Iterator[tuple[Task, Any]]:
        """Yield each task with its result."""
        while tasks:
            task = tasks.popleft()
            yield task, self._station.do(task)
