"""Opening an atlas: errors say what state the file is in, and what a kill left half done is rolled back."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from backlight.atlas import opening, schema
from backlight.atlas.opening import storage_errors
from backlight.atlas.schema import connect_for_reading, connect_for_writing, transaction, writing
from backlight.errors import AtlasError, BadInputError, StorageError
from backlight.storage import locked, locking


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "TIMEOUT_S", 0.0)
    monkeypatch.setattr(schema, "TIMEOUT_S", 0.0)
    monkeypatch.setattr(locking, "PATIENCE_S", 0.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return an atlas that a build has begun."""
    path = tmp_path / "a.atlas"
    with writing(path) as connection:
        connection.execute("INSERT INTO meta VALUES ('identity', '{}')")
    return path


def keys(connection: sqlite3.Connection) -> set[str]:
    return {key for (key,) in connection.execute("SELECT key FROM meta")}


def in_the_middle_of_a_commit(path: Path, place: Path) -> Path:
    """Return a copy of the files of a step as a kill leaves them: pages are written, the journal is still there."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA cache_spill = 1")
    connection.execute("PRAGMA cache_size = 1")
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("INSERT INTO meta VALUES (?, ?)", [(f"half {i}", "x" * 4000) for i in range(40)])
    place.mkdir()
    for name in (path.name, f"{path.name}-journal"):
        shutil.copy(path.with_name(name), place / name)
    connection.execute("ROLLBACK")
    connection.close()
    return place / path.name


def test_a_reader_takes_back_the_step_that_a_kill_left(path: Path, tmp_path: Path) -> None:
    killed = in_the_middle_of_a_commit(path, tmp_path / "killed")
    assert killed.stat().st_size > path.stat().st_size
    with pytest.raises(sqlite3.OperationalError):  # what a reader that may not write is told by SQLite
        sqlite3.connect(f"{killed.as_uri()}?mode=ro", uri=True).execute("SELECT * FROM meta")
    connection = connect_for_reading(killed)
    assert keys(connection) == {"identity"}
    connection.close()
    assert [own.name for own in killed.parent.iterdir()] == ["a.atlas"]


def test_a_reader_that_may_not_take_it_back_says_so(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed, connect = in_the_middle_of_a_commit(path, tmp_path / "killed"), opening._connect
    monkeypatch.setattr(
        opening, "_connect", lambda own, mode: connect(own, "ro")
    )  # as in a folder that is read-only
    with pytest.raises(
        AtlasError, match=r"a killed run left .* copy it and a\.atlas-journal to a folder of your own"
    ):
        connect_for_reading(killed)


def test_a_writer_takes_back_the_step_that_a_kill_left(path: Path, tmp_path: Path) -> None:
    connection = connect_for_writing(in_the_middle_of_a_commit(path, tmp_path / "killed"))
    assert keys(connection) == {"identity"}
    connection.close()


def test_an_atlas_that_was_being_created_is_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "a.atlas"
    path.touch()
    with pytest.raises(
        AtlasError, match="is empty, so it is not an atlas yet; call build again as before"
    ) as told:
        connect_for_reading(path)
    assert told.value.for_command_line.endswith("; rerun the original `backlight build` to resume it")
    killed = tmp_path / "k.atlas"
    creating = sqlite3.connect(killed, isolation_level=None)
    creating.executescript("PRAGMA cache_size = 1; PRAGMA cache_spill = 1; BEGIN; CREATE TABLE t (x);")
    creating.executemany("INSERT INTO t VALUES (?)", [("x" * 4000,)] * 40)
    for name in ("k.atlas", "k.atlas-journal"):  # no page was committed
        shutil.copy(tmp_path / name, tmp_path / name.replace("k.", "c."))
    creating.close()
    for own in (path, tmp_path / "c.atlas"):
        connection = connect_for_writing(own)
        assert keys(connection) == set()
        connection.close()
        with pytest.raises(AtlasError, match="is empty, so it is not an atlas yet"):
            connect_for_reading(own)  # until the build has said what it builds


def test_while_it_is_created_a_reader_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "a.atlas"
    running = r"a.atlas' is being created by a running build \(process \d+\); try again in a moment"
    with locked(path), pytest.raises(AtlasError, match=running):
        connect_for_reading(path)
    connection = connect_for_writing(path)
    with pytest.raises(AtlasError, match=running):
        connect_for_reading(path)
    connection.close()


def refused_in_another_thread(path: Path) -> str:
    raised: list[str] = []

    def begin() -> None:
        try:
            connect_for_writing(path).close()
        except StorageError as error:
            raised.append(str(error))

    thread = threading.Thread(target=begin)
    thread.start()
    thread.join()
    return "".join(raised)


def test_a_second_writer_is_refused_until_the_first_has_closed(path: Path) -> None:
    connection = connect_for_writing(path)
    assert "is being written by process" in refused_in_another_thread(path)
    connection.close()
    assert refused_in_another_thread(path) == ""
    with locked(path), writing(path) as connection:  # a run's own steps
        connection.execute("INSERT INTO meta VALUES ('more', '1')")


def test_a_file_that_is_locked_is_not_called_damaged(path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(AtlasError, match="is locked by another process; try again when it has finished"):
        connect_for_reading(path)
    with (
        locked(path),
        pytest.raises(AtlasError, match=r"is being written by a running build or study \(process \d+"),
    ):
        connect_for_reading(path)
    with pytest.raises(StorageError, match="another process is reading or writing it; wait for it to finish"):
        connect_for_writing(path)
    other.close()
    connect_for_reading(path).close()


def test_a_damaged_file_is_called_damaged(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[100:140] = bytes(40)  # the root page of all tables
    path.write_bytes(data)
    for connect in (connect_for_reading, connect_for_writing):
        with pytest.raises(AtlasError, match=r"is damaged \(.+\); build it again under another name"):
            connect(path)


@pytest.mark.parametrize(
    "name", [":memory:", "file:x.atlas", "x?mode=ro", "file::memory:?cache=shared", "a%41#b", " "]
)
@pytest.mark.parametrize("is_relative", [True, False])
def test_any_name_is_the_name_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, is_relative: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path(name) if is_relative else tmp_path / name
    with writing(path) as connection:
        connection.execute("INSERT INTO meta VALUES ('identity', '{}')")
    assert [own.name for own in tmp_path.iterdir()] == [name]
    connection = connect_for_reading(path)
    assert keys(connection) == {"identity"}
    connection.close()


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("", "is a folder, not an atlas; an atlas is one file, such as a.atlas"),
        ("none.atlas", "no atlas at .*none.atlas'; build.net, images, 'none.atlas'. makes one"),
        ("x" * 300, r"cannot read .* \(File name too long\); check the name and its permissions"),
        ("a\0", "no atlas at "),
    ],
)
def test_what_is_no_file(tmp_path: Path, name: str, what: str) -> None:
    with pytest.raises(AtlasError, match=what):
        connect_for_reading(tmp_path / name)


def test_places_where_no_atlas_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="is a folder; give the name of the atlas to write"):
        connect_for_writing(tmp_path)
    with pytest.raises(BadInputError, match="no such folder"):
        connect_for_writing(tmp_path / "no" / "a.atlas")
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_step_lets_go_of_everything(path: Path, tmp_path: Path) -> None:
    def fail() -> None:
        with writing(path) as connection:
            connection.execute("INSERT INTO meta VALUES ('half', '1')")
            raise KeyError

    for attempt in (fail, lambda: connect_for_writing(tmp_path / "text")):
        (tmp_path / "text").write_text("no atlas")
        with pytest.raises((KeyError, AtlasError)):
            attempt()
    assert refused_in_another_thread(path) == ""
    connection = connect_for_reading(path)
    assert keys(connection) == {"identity"}
    connection.close()
    assert sorted(own.name for own in tmp_path.iterdir()) == ["a.atlas", "text"]


@pytest.mark.parametrize(
    ("work", "what"),
    [
        (lambda c: c.execute("PRAGMA max_page_count = 1"), "no space is left on the disk"),
        (lambda c: c.execute("PRAGMA query_only = 1"), "it cannot be written; check the folder"),
    ],
)
def test_errors_of_writing(path: Path, work: Callable[[sqlite3.Connection], object], what: str) -> None:
    connection = connect_for_writing(path)
    work(connection)
    with pytest.raises(StorageError, match=what), transaction(connection, path):
        connection.executemany("INSERT INTO meta VALUES (?, ?)", [(str(i), "x" * 4000) for i in range(40)])
    connection.close()
    with pytest.raises(StorageError, match="rerun the same command"), storage_errors(path):
        raise sqlite3.OperationalError("disk I/O error")
