"""The Ray engine: stations on all machines of a Ray cluster, or in processes of this one.

Placement, restarts, retries and autoscaling are Ray's. Every task may be done twice: what a station leaves behind is
whole or not there (the ledger), so one that died loses its current shard only.
"""

from __future__ import annotations

import logging
import os
import pickle
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from backlight.engines.gathering import gathered
from backlight.engines.ledger import Ledger, ledger_of
from backlight.engines.plan import Plan, Shard
from backlight.engines.station import Station, Task
from backlight.engines.work import FinishedLight, FinishedTile, Group, LightGroup, Partial
from backlight.errors import BacklightError, BacklightWarning, BadInputError, MachineError, first_line, tell
from backlight.progress import Progress, silent
from backlight.scan.certain import Answer, QuestionGroup
from backlight.text import counted, one_line

IN_FLIGHT = 2
"""Tasks of a station at a time: while it does one, the next is on its way."""
MOST_RETRIES = 8
"""How often a task is begun again because its station died; a task that kills every station is not tried for ever."""
PATIENCE_S = 20.0
"""After so long without a result, stations with nothing to do make room for those that wait for a place."""
_GROUPS_OF_A_TASK = 4
_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class RayConfig:
    """Where stations run, and on what.

    Attributes:
        address: Of the cluster: `auto`, `HOST:6379`, or None for a cluster of this machine alone, begun and
            ended with the engine. Where Ray runs in this process already, that is used.
        stations: How many; None for as many as the cluster has room for.
        cpus: Of each station; torch uses so many threads.
        gpus: Of each station; the network runs on `cuda` where it is above 0.
    """

    address: str | None = None
    stations: int | None = None
    cpus: int = 1
    gpus: float = 0.0


class RayEngine:
    """Carries out a plan on a Ray cluster; see `Engine` for the methods. Use it in a `with` block.

    Args:
        ledger: Where the files of a scan are kept until the atlas has them: a folder that every machine sees, or an
            address that fsspec knows.
        config: Where stations run.
        keeps_ledger: Whether files stay in the ledger once the atlas has what they hold.

    Raises:
        BadInputError: Ray is not installed, there is no cluster at the address, or a number makes no sense.
    """

    def __init__(
        self, ledger: Path | str, config: RayConfig | None = None, *, keeps_ledger: bool = False
    ) -> None:
        self._address, self._config, self._keeps = ledger, config or RayConfig(), keeps_ledger
        _check(self._config)
        self._ray, self._began = _connect(self._config.address)
        self._crew: _Stations | None = None

    def __enter__(self) -> RayEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the stations, and the cluster if it was begun here."""
        if self._crew is not None and not self._began:
            self._crew.close()
        self._crew = None
        if self._began:
            self._ray.shutdown()  # which ends the stations too, and without a word about each of their tasks
            self._began = False

    def scan(self, plan: Plan, shards: Sequence[Shard], progress: Progress = silent) -> Iterator[Partial]:
        """Yield what is found in the shards, many at a time."""
        if shards:
            crew = self._crew_of(plan)
            yield from gathered(plan, crew.ledger, crew, shards, progress)

    def certify(self, plan: Plan, groups: Sequence[QuestionGroup]) -> Iterator[tuple[Answer, ...]]:
        """Yield the answers to each group of questions about hits, in the order of the groups."""
        tasks = [Task("certify", own) for own in groups]
        done: dict[QuestionGroup, tuple[Answer, ...]] = {}
        running = self._done(plan, tasks)
        for task in tasks:
            while task.argument not in done:
                other, answers = next(running)
                done[other.argument] = answers
            yield done.pop(task.argument)

    def project(self, plan: Plan, groups: Sequence[Group]) -> Iterator[Sequence[FinishedTile]]:
        """Yield the tiles of the groups, as they are done."""
        self._clear(plan)
        for _, tiles in self._done(plan, [Task("project", own) for own in _together(groups)]):
            yield tiles

    def light(self, plan: Plan, groups: Sequence[LightGroup]) -> Iterator[FinishedLight]:
        """Yield what is kept of each group of images, as they are done."""
        for _, found in self._done(plan, [Task("light", [own]) for own in groups]):
            yield from found

    def _done(self, plan: Plan, tasks: Sequence[Task]) -> Iterator[tuple[Task, Any]]:
        """Yield each task with its result, as they are done; no station is begun where there is none."""
        return self._crew_of(plan).run(deque(tasks)) if tasks else iter(())

    def _clear(self, plan: Plan) -> None:
        """Remove the scan's files: the atlas has what they hold."""
        if not self._keeps:
            ledger_of(plan, self._address).clear()

    def _crew_of(self, plan: Plan) -> _Stations:
        if self._crew is None or self._crew.plan is not plan:
            if self._crew is not None:
                self._crew.close()
            self._crew = _Stations(self._ray, plan, ledger_of(plan, self._address), self._config)
        return self._crew


class _Stations:
    """Stations as actors of Ray."""

    def __init__(self, ray: Any, plan: Plan, ledger: Ledger, config: RayConfig) -> None:
        self.plan, self.ledger = plan, ledger
        self._ray, self._config = ray, config
        self.size = config.stations or _room(ray, config)
        self._sent: Any = None
        self._actors: dict[int, Any] = {}
        self._made = 0

    def run(self, tasks: deque[Task]) -> Iterator[tuple[Task, Any]]:
        """Yield each task with its result, in the order in which they are done.

        A station gets no task before it has found a place: one that finds none holds nothing up.
        """
        ray, pending = self._ray, dict[Any, tuple[int, Task | None]]()
        ready: set[int] = set()
        for key, actor in self._staffed().items():
            pending[actor.prepare.remote([self._sent])] = key, None
        while tasks or any(task is not None for _, task in pending.values()):
            busy = Counter(key for key, task in pending.values() if task is not None)
            for _ in range(IN_FLIGHT):  # one each before anyone gets a second
                for key in sorted(ready, key=lambda own: busy[own]):
                    if tasks and busy[key] < IN_FLIGHT:
                        task = tasks.popleft()
                        pending[self._actors[key].do.remote([self._sent], task)] = key, task
                        busy[key] += 1
            done, _ = ray.wait(list(pending), num_returns=1, timeout=PATIENCE_S)
            if not done:
                self._make_room(pending, ready)
                continue
            key, given = pending.pop(done[0])
            result = self._result(done[0], given)
            ready.add(key)
            if given is not None:
                yield given, result

    def close(self) -> None:
        """End all stations."""
        for actor in self._actors.values():
            with suppress(Exception):  # whatever Ray says of one that is gone already
                self._ray.kill(actor)
        self._actors = {}
        self._sent = None

    def _staffed(self) -> dict[int, Any]:
        """Return the stations, made anew where some are missing."""
        if self._sent is None:
            # Once for all of them. Sent inside a list: Ray would send what it stands for with each call.
            try:
                self._sent = self._ray.put((self.plan, self.ledger))
            # A function as the preprocessing, or a Dataset, may hold anything.
            except (TypeError, pickle.PicklingError, AttributeError) as error:
                raise BadInputError(
                    "the network's preprocessing or the images cannot be sent to other processes "
                    f"({one_line(error, 120)}); give a function and a Dataset without open files or locks"
                ) from error
        remote = self._ray.remote(
            num_cpus=self._config.cpus,
            num_gpus=self._config.gpus,
            max_restarts=-1,
            max_task_retries=MOST_RETRIES,
        )(_Actor)
        while len(self._actors) < self.size:
            device = "cuda" if self._config.gpus else None
            self._actors[self._made] = remote.remote(self._config.cpus, device)
            self._made += 1
        return self._actors

    def _make_room(self, pending: dict[Any, tuple[int, Task | None]], ready: set[int]) -> None:
        """End a station that has nothing to do, where others wait: what they wait for may be its place."""
        for key in sorted(ready - {own for own, task in pending.values() if task is not None}):
            with suppress(Exception):
                self._ray.kill(self._actors.pop(key))
            ready.discard(key)
            return

    def _result(self, reference: Any, task: Task | None) -> Any:
        exceptions = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except exceptions.RayTaskError as error:
            cause = error.cause or error
            if isinstance(cause, BacklightError):
                raise cause from None
            why = f"{type(cause).__name__}: {first_line(cause)}"
            raise MachineError(
                f"a process of the cluster failed ({why}); what is done is kept, and every machine needs the same "
                "versions of Backlight and PyTorch"
            ) from error
        except exceptions.RayError as error:
            what = "started" if task is None else f"did its task ({task.method})"
            raise MachineError(
                f"a process of the cluster died while it {what}, {counted(MOST_RETRIES + 1, 'time')} over "
                f"({first_line(error)}); what is done is kept: give each more memory, or run fewer (--stations)"
            ) from error


class _Actor:
    """A station in a process of its own; one that Ray began again gets its plan with its first call."""

    def __init__(self, threads: int, device: str | None) -> None:
        self._threads, self._device = threads, device
        self._station: Station | None = None

    def prepare(self, sent: list[Any]) -> None:
        """Get the network."""
        self._prepared(sent)

    def _prepared(self, sent: list[Any]) -> Station:
        if self._station is None:
            import ray

            plan, ledger = ray.get(sent[0])
            self._station = Station(plan, ledger, self._threads, self._device)
        return self._station

    def do(self, sent: list[Any], task: Task) -> Any:
        """Do a task."""
        return self._prepared(sent).do(task)


def _check(config: RayConfig) -> None:
    if (config.stations is not None and config.stations < 1) or config.cpus < 1 or config.gpus < 0:
        raise BadInputError(
            f"stations and CPUs must be at least 1 and GPUs at least 0, got {config.stations}, {config.cpus} and "
            f"{config.gpus}"
        )


def _connect(address: str | None) -> tuple[Any, bool]:
    """Return Ray, connected, and whether the connection was made here."""
    # Nothing is sent about the use of this program, unless somebody asks for it.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise BadInputError(
            "the engine 'ray' needs a package that is not installed; run: pip install 'backlight[ray]'"
        ) from error
    if ray.is_initialized():
        return ray, False
    # Without an address a new cluster, not one that happens to run here.
    options: dict[str, Any] = {
        "address": address or "local",
        "log_to_driver": False,
        "logging_level": logging.ERROR,
    }
    try:
        if address is None:
            with on_the_loopback():
                ray.init(**options, include_dashboard=False)
        else:
            ray.init(**options)
    # Ray has no common base for what it raises on connecting.
    except Exception as error:
        raise BadInputError(
            f"no Ray cluster at {address!r} ({first_line(error)}); begin one with `ray start`"
        ) from error
    nodes: Any = ray.nodes()  # type: ignore[no-untyped-call]
    if address is None and any(own["NodeManagerAddress"] != _LOOPBACK for own in nodes):
        tell(
            BacklightWarning(
                "other machines of the network reach the cluster that this version of Ray begins here, and who reaches "
                "it can run programs; close its ports, or upgrade Ray"
            )
        )
    return ray, True


@contextmanager
def on_the_loopback() -> Iterator[None]:
    """Let a cluster that is begun in the block listen on the loopback only: who reaches a cluster runs code on it.

    Ray does so by itself on Windows and macOS; elsewhere it listens on all interfaces, and no public option changes it.
    """
    from ray._private import ray_constants

    before = getattr(ray_constants, "ENABLE_RAY_CLUSTER", None)
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def _room(ray: Any, config: RayConfig) -> int:
    """Return how many stations the cluster has room for, at least one."""
    resources = ray.cluster_resources()
    rooms = [resources.get("CPU", 0) / config.cpus]
    if config.gpus:
        rooms.append(resources.get("GPU", 0) / config.gpus)
    return max(1, int(min(rooms)))


def _together(groups: Sequence[Group]) -> Iterator[list[Group]]:
    """Yield a few groups at a time, which share a rewritten network: it is made for each task."""
    own: list[Group] = []
    for group in groups:
        key = group.layers, group.rules, group.crops
        if own and (len(own) == _GROUPS_OF_A_TASK or key != (own[0].layers, own[0].rules, own[0].crops)):
            yield own
            own = []
        own.append(group)
    if own:
        yield own
