"""Gathering a scan through its ledger: whoever scans the shards, in whatever order, it comes out in theirs."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from backlight.engines.ledger import FANOUT, Ledger, ledger_of
from backlight.engines.local import LocalEngine, Worker
from backlight.engines.plan import Plan, Shard
from backlight.engines.station import Alone, Crew, Station, Task
from backlight.engines.work import FinishedTile, Group, Partial, merge
from backlight.errors import ImageError, MachineError
from backlight.progress import Progress, silent
from backlight.storage.locking import locked

_SUSPICIOUS = 16
"""Of a shard of so many images at least one can be read; else the machine may not see them at all."""


@dataclass
class _Node:
    """Pieces that are read together.

    Attributes:
        whole: All of their images.
        pieces: In their order; each is a file, or will be one. One file, once they are merged.
        left: Those that are still to be scanned.
        is_ready: Whether all of it can be read.
        read: What was read of it so far, from its first image on.
    """

    whole: Shard
    pieces: list[Shard]
    left: set[Shard] = field(default_factory=set)
    is_ready: bool = False
    read: Partial | None = None


class Gathering:
    """Scans shards by a crew, through a ledger.

    Args:
        plan: The plan.
        ledger: The ledger of its scan.
        crew: Who scans what is missing and merges the files.
        step: Images of a shard, at most.
    """

    def __init__(self, plan: Plan, ledger: Ledger, crew: Crew, step: int) -> None:
        self._plan, self._ledger, self._crew, self._step = plan, ledger, crew, step
        self._tasks: deque[Task] = deque()
        self._nodes: list[_Node] = []

    def run(self, wanted: Shard, progress: Progress = silent) -> Iterator[Partial]:
        """Yield what is found in the wanted images, in their order, many shards at a time.

        Raises:
            MachineError: A machine could read no image of a shard, which can be read here.
        """
        pieces = self._ledger.row(wanted, self._step)
        self._nodes = [self._node(pieces[i : i + FANOUT]) for i in range(0, len(pieces), FANOUT)]
        for node in self._nodes:
            self._order(node)
        n_done = wanted.start + sum(len(own) for own, is_there in pieces if is_there)
        running, at = self._crew.run(self._tasks), 0
        while at < len(self._nodes):
            if self._nodes[at].is_ready:
                partial = self._read_on(at)
                if partial is not None:
                    yield partial
                    at += 1
                continue
            done = next(running, None)
            if done is None:  # all was done when a file turned out to be damaged
                running = self._crew.run(self._tasks)
                continue
            task, result = done
            node = self._node_of(task)
            if task.method == "scan":
                self._check(task.argument, result)
                node.left.discard(task.argument)
                n_done += len(task.argument)
                progress("scan", n_done, self._plan.n_images)
                self._order(node)
                if node is self._nodes[at] and not node.is_ready and self._crew.size < FANOUT:
                    self._read_on(at)  # while others still scan the rest of it
            elif result is None:
                self._again(self._nodes.index(node))
            else:
                node.pieces, node.is_ready = [node.whole], True

    def _node(self, pieces: Sequence[tuple[Shard, bool]]) -> _Node:
        whole = Shard(pieces[0][0].start, pieces[-1][0].stop)
        left = {own for own, is_there in pieces if not is_there}
        self._tasks.extend(Task("scan", own) for own, is_there in pieces if not is_there)
        return _Node(whole, [own for own, _ in pieces], left)

    def _order(self, node: _Node) -> None:
        """Have a node's files merged once all of them are there, before anything else; a few stations need no help."""
        if not node.left:
            if len(node.pieces) == 1 or self._crew.size < FANOUT:
                node.is_ready = True
            else:
                self._tasks.appendleft(Task("merge", node.pieces))

    def _read_on(self, at: int) -> Partial | None:
        """Read on in the files of a node, in their order, as far as there are any; return what is known once it is all.

        A file that is damaged is scanned again.
        """
        node = self._nodes[at]
        for piece in node.pieces:
            if piece in node.left:
                return None
            if node.read is not None and piece.start < node.read.shard.stop:
                continue  # read before
            part = self._ledger.read(piece)
            if part is None and not node.left:
                self._again(at)
                return None
            if part is None:
                node.left.add(piece)
                self._tasks.append(Task("scan", piece))
                return None
            node.read = part if node.read is None else merge(node.read, part)
        return node.read

    def _again(self, at: int) -> None:
        """Look once more what there is of a node, of which a file was damaged, and have the rest scanned."""
        self._nodes[at] = self._node(self._ledger.row(self._nodes[at].whole, self._step))
        self._order(self._nodes[at])

    def _node_of(self, task: Task) -> _Node:
        first = task.argument if isinstance(task.argument, Shard) else task.argument[0]
        return next(node for node in self._nodes if node.whole.start <= first.start < node.whole.stop)

    def _check(self, shard: Shard, skipped: Sequence[int]) -> None:
        """Refuse a shard of which a machine could read nothing, if this process can: it may not see the images."""
        if len(skipped) < len(shard) or len(shard) < _SUSPICIOUS:
            return
        try:
            self._plan.images.load(skipped[0])
        except ImageError:
            return
        self._ledger.discard(shard)
        path = self._plan.images.records[skipped[0]].path
        raise MachineError(
            f"a machine could read none of {len(shard)} images, such as {path!r}, which can be read here; "
            "put the images where every machine finds them under the same name"
        )


class LedgerEngine(LocalEngine):
    """The local engine, whose scan goes through a ledger: it uses what others have scanned, and scans the rest.

    Args:
        address: The folder of the ledger: a path, or an address that fsspec knows.
        keeps_ledger: Whether files stay in the ledger once the atlas has what they hold.
    """

    def __init__(self, address: Path | str, *, keeps_ledger: bool = False) -> None:
        self._address, self._keeps = address, keeps_ledger

    def scan(self, plan: Plan, shards: Sequence[Shard], progress: Progress = silent) -> Iterator[Partial]:
        """Yield what is found in the shards, many at a time."""
        ledger = ledger_of(plan, self._address)
        yield from gathered(plan, ledger, Alone(Station(plan, ledger)), shards, progress)

    def project(self, plan: Plan, groups: Sequence[Group]) -> Iterator[Sequence[FinishedTile]]:
        """Yield the tiles of each group."""
        if not self._keeps:
            ledger_of(plan, self._address).clear()  # the atlas has what they hold
        return super().project(plan, groups)


def gathered(
    plan: Plan, ledger: Ledger, crew: Crew, shards: Sequence[Shard], progress: Progress = silent
) -> Iterator[Partial]:
    """Yield what is found in shards that follow each other, many at a time, while no other run gathers there.

    Raises:
        StorageError: Another run gathers in the same ledger, on this machine or in a folder that it shares.
    """
    if not shards:
        return
    with held(ledger):
        step = max(map(len, shards))
        yield from Gathering(plan, ledger, crew, step).run(Shard(shards[0].start, shards[-1].stop), progress)


def held(ledger: Ledger) -> AbstractContextManager[object]:
    """Hold the lock of a ledger in a folder; object stores have none, and two runs there do the same work twice."""
    path = ledger.folder.path
    return nullcontext() if path is None else locked(path)


def scan_part(
    plan: Plan, ledger: Ledger, part: int, n_parts: int, progress: Progress = silent
) -> tuple[int, int]:
    """Scan one of several parts of the images, as far as that is still to be done.

    Args:
        plan: The plan.
        ledger: The ledger of its scan.
        part: Which part, from 1.
        n_parts: How many parts there are; a part that gets no shard is empty.
        progress: Called with `scan`, the number of images done and the number of all that are to be done.

    Returns:
        How many images were scanned, and how many of the part had been scanned before.
    """
    shards = plan.shards()
    own = shards[len(shards) * (part - 1) // n_parts : len(shards) * part // n_parts]
    if not own:
        return 0, 0
    row = ledger.row(Shard(own[0].start, own[-1].stop), max(map(len, own)))
    missing = [shard for shard, is_there in row if not is_there]
    for partial in Worker(plan).scan(missing, progress, alone=True):
        ledger.write(partial)
    n_scanned = sum(map(len, missing))
    return n_scanned, sum(map(len, own)) - n_scanned
