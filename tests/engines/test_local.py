"""Which engine carries out a plan, and how it splits the work, does not show in the atlas."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from functools import reduce
from pathlib import Path
from typing import TypeVar

import pytest

from atlas.files import make_network, rows
from backlight import Plan
from backlight.atlas import execute
from backlight.engines.local import LocalEngine, project_group, scan_shard
from backlight.engines.plan import Shard
from backlight.engines.work import Engine, FinishedTile, Group, Partial, merge
from backlight.progress import Progress
from engines.plans import some_plan

T = TypeVar("T")


class Elsewhere:
    """Scans shards in pieces and from the last to the first, and groups likewise; all goes through bytes."""

    def __init__(self, piece: int) -> None:
        self.piece, self.n_scanned, self.n_projected = piece, 0, 0

    def scan(self, plan: Plan, shards: Sequence[Shard], progress: Progress) -> Iterator[Partial]:
        found = []
        for shard in reversed(shards):
            starts = range(shard.start, shard.stop, self.piece)
            pieces = [Shard(start, min(start + self.piece, shard.stop)) for start in starts]
            parts = [sent(scan_shard(plan, sent(piece))) for piece in reversed(pieces)]
            self.n_scanned += len(parts)
            found.append(reduce(merge, parts))
        return reversed(found)

    def project(self, plan: Plan, groups: Sequence[Group]) -> Iterator[Sequence[FinishedTile]]:
        self.n_projected += len(groups)
        return reversed([sent(project_group(plan, sent(group))) for group in reversed(groups)])


def sent(thing: T) -> T:
    """Return what arrives when something is sent to another machine."""
    arrived: T = pickle.loads(pickle.dumps(thing))
    return arrived


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("piece", [8, 3, 100])
def test_another_engine_makes_the_same_atlas_bit_for_bit(
    tmp_path: Path, picture_folder: Path, piece: int
) -> None:
    (picture_folder / "b" / "bad.png").write_bytes(b"\x89PNG cut off")
    plan, engine = some_plan(make_network(), picture_folder), Elsewhere(piece)
    execute(plan, tmp_path / "local.atlas")
    execute(plan, tmp_path / "elsewhere.atlas", engine)
    assert rows(tmp_path / "elsewhere.atlas") == rows(tmp_path / "local.atlas")
    assert engine.n_scanned >= 3
    assert engine.n_projected >= 3


@pytest.mark.usefixtures("small_steps")
def test_an_engine_resumes_what_another_began(tmp_path: Path, picture_folder: Path) -> None:
    plan, path = some_plan(make_network(), picture_folder), tmp_path / "a.atlas"
    execute(plan, tmp_path / "whole.atlas")
    for phase, n_done in (("scan", 16), ("project", 1)):

        def stop(now: str, done: int, _: int, phase: str = phase, n_done: int = n_done) -> None:
            if now == phase and done >= n_done:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            execute(plan, path, progress=stop)
    execute(plan, path, Elsewhere(8))
    assert rows(path) == rows(tmp_path / "whole.atlas")


def test_both_are_engines() -> None:
    assert isinstance(LocalEngine(), Engine)
    assert isinstance(Elsewhere(1), Engine)
