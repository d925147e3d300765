"""Gathering: whoever scans which shard when, and whatever a file of the ledger suffers, the atlas is the same."""

from __future__ import annotations

import os
import pickle
from collections import deque
from collections.abc import Callable, Iterator
from errno import ENOSPC
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas.files import make_network, rows
from backlight import Plan, plan_build
from backlight.atlas import execute
from backlight.engines.gathering import Gathering, LedgerEngine, gathered, scan_part
from backlight.engines.ledger import Ledger, ledger_of
from backlight.engines.plan import Shard
from backlight.engines.station import Alone, Station, Task
from backlight.errors import BacklightWarning, MachineError, StorageError
from backlight.images import FileSource
from backlight.scan import Scan
from backlight.storage.locking import locked
from conftest import make_pictures
from engines.plans import some_plan


class Shuffled:
    """Several stations, each on a copy of the plan, that do tasks in any order, some of them twice."""

    def __init__(
        self, plan: Plan, ledger: Ledger, n_stations: int, seed: int, size: int | None = None
    ) -> None:
        self.size = size or n_stations
        sent = pickle.dumps((plan, ledger))
        self._stations = [Station(*pickle.loads(sent)) for _ in range(n_stations)]
        self._generator = np.random.default_rng(seed)
        self.before: Callable[[Task], None] = lambda _: None
        self.done: list[Task] = []

    def run(self, tasks: deque[Task]) -> Iterator[tuple[Task, Any]]:
        while tasks:
            at = int(self._generator.integers(len(tasks)))
            task = tasks[at]
            del tasks[at]
            self.before(task)
            station = self._stations[int(self._generator.integers(len(self._stations)))]
            if task.method == "scan" and self._generator.random() < 0.3:
                station.do(task)  # a station died after it had written the file
            self.done.append(task)
            yield task, station.do(task)


def scan_of(plan: Plan, ledger: Ledger, crew: Any, step: int, start: int = 0) -> Scan:
    state, at = Scan.empty(plan.layers, plan.n_candidates), start
    for partial in Gathering(plan, ledger, crew, step).run(Shard(start, plan.n_images)):
        assert partial.shard.start == at
        state, at = state.merge(partial.scan), partial.shard.stop
    assert at == plan.n_images
    return state


def assert_same_scan(one: Scan, other: Scan) -> None:
    assert one.skipped == other.skipped
    for (name, array), own in zip(one.to_arrays().items(), other.to_arrays().values(), strict=True):
        np.testing.assert_array_equal(array, own, err_msg=name)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_pictures(tmp_path_factory.mktemp("gathering") / "pictures", 60)
    sorted(folder.rglob("*.png"))[7].write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def whole(pictures: Path) -> tuple[Plan, Scan]:
    plan = plan_build(make_network(), pictures, ["relu1", "fc"], 4, batch_size=4)
    (partial,) = Station(plan, ledger_of(plan, "memory://none"))._worker.scan([Shard(0, 60)])
    return plan, partial.scan


@settings(max_examples=15, deadline=None)
@given(
    n_batches=st.integers(1, 8),
    n_stations=st.sampled_from([1, 2, 4]),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_any_size_of_shards_number_of_stations_and_order_gives_the_same_scan(
    whole: tuple[Plan, Scan],
    tmp_path_factory: pytest.TempPathFactory,
    n_batches: int,
    n_stations: int,
    seed: int,
    data: st.DataObject,
) -> None:
    plan, expected = whole
    ledger = ledger_of(plan, tmp_path_factory.mktemp("ledger"))
    # What an earlier run, with shards of another size, has left.
    step = 4 * data.draw(st.integers(1, 5), "earlier size")
    starts = data.draw(
        st.lists(st.sampled_from(range(0, 60, step)), max_size=4, unique=True), "earlier shards"
    )
    station = Station(plan, ledger)
    for start in starts:
        station.scan(Shard(start, min(start + step, 60)))
    crew = Shuffled(plan, ledger, n_stations, seed)
    assert_same_scan(scan_of(plan, ledger, crew, 4 * n_batches), expected)
    shards = [task.argument for task in crew.done if task.method == "scan"]
    scanned = [image for shard in shards for image in range(shard.start, shard.stop)]
    assert len(scanned) == len(set(scanned))


def test_many_files_become_few_before_anyone_reads_them(
    whole: tuple[Plan, Scan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backlight.engines.gathering.FANOUT", 4)
    plan, expected = whole
    ledger = ledger_of(plan, tmp_path / "ledger")
    crew = Shuffled(plan, ledger, 2, 0, size=4)
    assert_same_scan(scan_of(plan, ledger, crew, 4), expected)
    assert [(own.start, own.stop) for own in ledger.shards()] == [(0, 16), (16, 32), (32, 48), (48, 60)]
    again = Shuffled(plan, ledger, 1, 0)
    assert_same_scan(scan_of(plan, ledger, again, 4), expected)
    assert not again.done


def test_a_file_that_is_damaged_meanwhile_is_scanned_again(
    whole: tuple[Plan, Scan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backlight.engines.gathering.FANOUT", 4)
    plan, expected = whole
    ledger = ledger_of(plan, tmp_path / "ledger")
    crew, struck = Shuffled(plan, ledger, 2, 0, size=4), set[str]()

    def strike(task: Task) -> None:
        """Damage one file before it is merged, and one that was merged before it is read."""
        files = sorted((tmp_path / "ledger").glob("*.npz"))
        if task.method == "merge" and "before" not in struck:
            name = f"-{task.argument[1].start:010d}-"
            next(file for file in files if name in file.name).write_bytes(b"PK")
            struck.add("before")
        merged = [file for file in files if file.name.endswith("-0000000016-0000000032.npz")]
        if merged and "after" not in struck:
            merged[0].write_bytes(merged[0].read_bytes()[:99])
            struck.add("after")

    crew.before = strike
    with pytest.warns(BacklightWarning, match="was damaged"):
        found = scan_of(plan, ledger, crew, 4)
    assert struck == {"before", "after"}
    assert_same_scan(found, expected)


def test_a_few_stations_leave_their_files_as_they_are_and_one_that_is_damaged_is_scanned_again(
    whole: tuple[Plan, Scan], tmp_path: Path
) -> None:
    plan, expected = whole
    ledger = ledger_of(plan, tmp_path / "ledger")
    crew = Shuffled(plan, ledger, 2, 0)
    assert_same_scan(scan_of(plan, ledger, crew, 4), expected)
    assert len(ledger.shards()) == 15
    sorted((tmp_path / "ledger").iterdir())[3].write_bytes(b"PK")
    again = Shuffled(plan, ledger, 2, 0)
    with pytest.warns(BacklightWarning, match="was damaged"):
        assert_same_scan(scan_of(plan, ledger, again, 4), expected)
    assert again.done == [Task("scan", Shard(12, 16))]


def test_a_file_that_is_damaged_while_others_scan_is_scanned_again(
    whole: tuple[Plan, Scan], tmp_path: Path
) -> None:
    plan, expected = whole
    ledger = ledger_of(plan, tmp_path / "ledger")
    Station(plan, ledger).scan(Shard(4, 8))
    next((tmp_path / "ledger").iterdir()).write_bytes(b"PK")
    crew = Alone(Station(plan, ledger))  # in order: it is found while the others are still to be scanned
    with pytest.warns(BacklightWarning, match="was damaged"):
        assert_same_scan(scan_of(plan, ledger, crew, 4), expected)
    assert len(ledger.shards()) == 15


def test_progress_counts_what_is_there_and_what_comes(whole: tuple[Plan, Scan], tmp_path: Path) -> None:
    plan, _ = whole
    ledger, steps = ledger_of(plan, tmp_path / "ledger"), list[tuple[str, int, int]]()
    Station(plan, ledger).scan(Shard(16, 32))
    crew = Shuffled(plan, ledger, 1, 0)
    list(Gathering(plan, ledger, crew, 16).run(Shard(0, 60), lambda *step: steps.append(step)))
    assert steps[-1] == ("scan", 60, 60)
    assert sorted(done for _, done, _ in steps) == [done for _, done, _ in steps]
    assert len(steps) == 3


@pytest.mark.usefixtures("small_steps")
def test_the_ledger_engine_uses_what_is_there_and_makes_the_same_atlas(
    tmp_path: Path, picture_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = some_plan(make_network(), picture_folder)
    execute(plan, tmp_path / "local.atlas")
    ledger = ledger_of(plan, tmp_path / "ledger")
    assert scan_part(plan, ledger, 1, 1) == (40, 0)
    monkeypatch.setattr(Station, "scan", None)  # nothing is left to be scanned
    execute(plan, tmp_path / "kept.atlas", LedgerEngine(tmp_path / "ledger", keeps_ledger=True))
    assert sum(map(len, ledger.shards())) == 40
    execute(plan, tmp_path / "merged.atlas", LedgerEngine(tmp_path / "ledger"))
    assert not (tmp_path / "ledger").exists()
    assert rows(tmp_path / "kept.atlas") == rows(tmp_path / "merged.atlas") == rows(tmp_path / "local.atlas")


@pytest.mark.usefixtures("small_steps")
def test_a_build_goes_on_in_a_ledger_where_the_atlas_has_got(tmp_path: Path, picture_folder: Path) -> None:
    plan, path = some_plan(make_network(), picture_folder), tmp_path / "a.atlas"
    execute(plan, tmp_path / "whole.atlas")

    def stop(phase: str, done: int, _: int) -> None:
        if phase == "scan" and done >= 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(plan, path, progress=stop)
    execute(plan, path, LedgerEngine(tmp_path / "ledger"))
    assert rows(path) == rows(tmp_path / "whole.atlas")


@pytest.mark.usefixtures("small_steps")
def test_parts_are_scanned_once_and_hold_all_images(tmp_path: Path, picture_folder: Path) -> None:
    plan = some_plan(make_network(), picture_folder)
    ledger = ledger_of(plan, tmp_path / "ledger")
    assert [scan_part(plan, ledger, part, 4) for part in (3, 1)] == [(16, 0), (0, 0)]
    assert [own for own, is_there in ledger.row(Shard(0, 40), 100) if not is_there] == [
        Shard(0, 16),
        Shard(32, 40),
    ]
    assert [scan_part(plan, ledger, part, 4) for part in (1, 2, 3, 4)] == [(0, 0), (16, 0), (0, 16), (8, 0)]
    assert scan_part(plan, ledger, 1, 1) == (0, 40)


def test_a_second_run_in_the_same_ledger_is_refused(
    whole: tuple[Plan, Scan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, _ = whole
    ledger = ledger_of(plan, tmp_path / "ledger")
    monkeypatch.setattr("backlight.storage.locking.PATIENCE_S", 0)
    monkeypatch.setattr("backlight.storage.locking._held", {})
    with locked(tmp_path / "ledger"):
        monkeypatch.setattr("backlight.storage.locking._held", {})  # as in another process
        with pytest.raises(StorageError, match=r"is being written by process \d+; wait until that is done"):
            next(gathered(plan, ledger, Shuffled(plan, ledger, 1, 0), plan.shards()))


def test_a_machine_that_does_not_see_the_images_is_told_from_bad_images(
    whole: tuple[Plan, Scan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, _ = whole
    ledger = ledger_of(plan, tmp_path / "ledger")
    crew = Shuffled(plan, ledger, 1, 0)
    for station in crew._stations:
        station._plan.images._root = tmp_path / "not mounted"  # type: ignore[attr-defined]
    assert isinstance(plan.images, FileSource)
    with pytest.raises(MachineError, match=r"could read none of 20 images, such as .*; put the images where"):
        scan_of(plan, ledger, crew, 20)
    assert ledger.shards() == []


def test_a_shard_of_bad_images_is_skipped_and_listed(tmp_path: Path) -> None:
    folder = make_pictures(tmp_path / "p", 20)
    for file in sorted(folder.rglob("*.png"))[:16]:
        file.write_bytes(b"no picture")
    plan = plan_build(make_network(), folder, ["relu1"], 4, batch_size=4)
    ledger = ledger_of(plan, tmp_path / "ledger")
    found = scan_of(plan, ledger, Shuffled(plan, ledger, 1, 0), 16)
    assert [own.id for own in found.skipped] == list(range(16))


@pytest.mark.usefixtures("small_steps")
def test_a_ledger_that_cannot_be_written_is_said_and_the_build_goes_on_elsewhere(
    tmp_path: Path, picture_folder: Path
) -> None:
    plan, path = some_plan(make_network(), picture_folder), tmp_path / "a.atlas"
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot write .*ledger.*; choose another place"):
        execute(plan, path, LedgerEngine(tmp_path / "file" / "ledger"))
    execute(plan, path, LedgerEngine(tmp_path / "ledger"))
    execute(plan, tmp_path / "local.atlas")
    assert rows(path) == rows(tmp_path / "local.atlas")


def test_a_full_disk_costs_the_shard_that_was_not_written(
    whole: tuple[Plan, Scan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, expected = whole
    ledger, write = ledger_of(plan, tmp_path / "ledger"), Path.write_bytes
    n_written = 0

    def fills_up(self: Path, data: bytes) -> int:
        nonlocal n_written
        n_written += 1
        if n_written > 5:
            write(self, data[:100])
            raise OSError(ENOSPC, "No space left on device")
        return write(self, data)

    monkeypatch.setattr(Path, "write_bytes", fills_up)
    with pytest.raises(StorageError, match=r"cannot write .*\(No space left on device\)"):
        scan_of(plan, ledger, Shuffled(plan, ledger, 2, 0), 4)
    monkeypatch.setattr(Path, "write_bytes", write)
    # Five were written, some of them twice; nothing else is there, and no part of a file.
    assert 0 < len(ledger.shards()) == len(list((tmp_path / "ledger").iterdir())) <= 5
    assert_same_scan(scan_of(plan, ledger, Shuffled(plan, ledger, 2, 0), 4), expected)


def test_no_clock_decides_anything(
    whole: tuple[Plan, Scan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, expected = whole
    ledger, hours = ledger_of(plan, tmp_path / "ledger"), count(0, -3600)
    monkeypatch.setattr("time.time", lambda: float(next(hours)))  # it goes backwards, an hour a look
    assert_same_scan(scan_of(plan, ledger, Shuffled(plan, ledger, 2, 0), 8), expected)
    for file in (tmp_path / "ledger").iterdir():
        os.utime(file, (0, 0))
    assert_same_scan(scan_of(plan, ledger, Shuffled(plan, ledger, 2, 0), 8), expected)
