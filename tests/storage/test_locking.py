"""A lock is held by one run, is let go of however a run ends, and leaves no file."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from backlight.errors import StorageError
from backlight.storage import holder, locked, locking


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locking, "PATIENCE_S", 0.0)


def in_thread(work: Callable[[], None]) -> list[Exception]:
    raised: list[Exception] = []

    def run() -> None:
        try:
            work()
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return raised


def take(path: Path) -> None:
    with locked(path):
        pass


def test_a_second_run_is_refused_and_told_who_writes(tmp_path: Path) -> None:
    path = tmp_path / "a.atlas"
    with locked(path):
        assert holder(path) == f"process {os.getpid()}"
        (error,) = in_thread(lambda: take(path))
        assert isinstance(error, StorageError)
        assert f"a.atlas' is being written by process {os.getpid()}; wait until that is done" in str(error)
        assert not in_thread(lambda: take(tmp_path / "b.atlas"))
    assert holder(path) is None
    assert not in_thread(lambda: take(path))
    assert list(tmp_path.iterdir()) == []


def test_the_same_thread_may_take_it_again_and_another_name_of_the_file_is_the_same(tmp_path: Path) -> None:
    path, link = tmp_path / "a", tmp_path / "link"
    path.touch()
    link.symlink_to(path)
    with locked(path):
        with locked(link):
            pass
        assert in_thread(lambda: take(link))
        assert holder(link) is not None


def test_the_file_that_a_kill_leaves_blocks_nobody_and_goes(tmp_path: Path) -> None:
    path = tmp_path / "a"
    (tmp_path / "a.lock").write_text("4711")
    assert holder(path) is None
    with locked(path):
        assert holder(path) == f"process {os.getpid()}"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_the_system_lets_go_of_the_lock_of_a_process_that_is_killed(tmp_path: Path) -> None:
    path, (reading, writing) = tmp_path / "a", os.pipe()
    child = os.fork()
    if not child:
        with locked(path):
            os.write(writing, b"x")
            os.read(os.pipe()[0], 1)  # for ever
    os.read(reading, 1)
    assert holder(path) == f"process {child}"
    with pytest.raises(StorageError, match=f"is being written by process {child}"):
        take(path)
    os.kill(child, 9)
    os.waitpid(child, 0)
    assert holder(path) is None
    take(path)
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_was_removed_while_it_was_waited_for_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, opened = os.open, 0

    def open_twice(name: str, *rest: int) -> int:
        nonlocal opened
        descriptor = plain(name, *rest)
        opened += 1
        if opened == 1:
            Path(name).unlink()  # the run that held it ended between the opening and the lock
        return descriptor

    monkeypatch.setattr(os, "open", open_twice)
    with locked(tmp_path / "a"):
        assert opened == 2
        assert (tmp_path / "a.lock").exists()


def test_a_file_system_without_locks_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl")

    def unsupported(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    take(tmp_path / "a")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot write '.*no/a' \(No such file or directory\)"):
        take(tmp_path / "no" / "a")
