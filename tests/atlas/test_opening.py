"""Opening an atlas: errors say what state the file is in, and what a kill left half done is rolled back."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from atlas.files import in_the_middle_of_a_commit, keys
from backlight.atlas.opening import storage_errors
from backlight.atlas.schema import connect_for_reading, connect_for_writing, transaction
from backlight.errors import AtlasError, StorageError
from backlight.storage import locked

pytestmark = pytest.mark.usefixtures("no_waiting")


def test_a_reader_takes_back_the_step_that_a_kill_left(begun: Path, tmp_path: Path) -> None:
    killed = in_the_middle_of_a_commit(begun, tmp_path / "killed")
    assert killed.stat().st_size > begun.stat().st_size
    with pytest.raises(sqlite3.OperationalError):  # what a reader that may not write is told by SQLite
        sqlite3.connect(f"{killed.as_uri()}?mode=ro", uri=True).execute("SELECT * FROM meta")
    connection = connect_for_reading(killed)
    assert keys(connection) == {"identity"}
    connection.close()
    assert [own.name for own in killed.parent.iterdir()] == ["a.atlas"]


def test_a_reader_that_may_not_take_it_back_says_so(
    begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed, connect = in_the_middle_of_a_commit(begun, tmp_path / "killed"), sqlite3.connect
    # As in a folder that is read-only.
    monkeypatch.setattr(
        sqlite3, "connect", lambda address, **how: connect(address.replace("?mode=rw", "?mode=ro"), **how)
    )
    with pytest.raises(
        AtlasError, match=r"a killed run left .* copy it and a\.atlas-journal to a folder of your own"
    ):
        connect_for_reading(killed)


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


def test_a_file_that_is_locked_is_not_called_damaged(begun: Path) -> None:
    other = sqlite3.connect(begun, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(AtlasError, match="is locked by another process; try again when it has finished"):
        connect_for_reading(begun)
    with (
        locked(begun),
        pytest.raises(AtlasError, match=r"is being written by a running build or study \(process \d+"),
    ):
        connect_for_reading(begun)
    with pytest.raises(StorageError, match="another process is reading or writing it; wait for it to finish"):
        connect_for_writing(begun)
    other.close()
    connect_for_reading(begun).close()


def test_a_damaged_file_is_called_damaged(begun: Path) -> None:
    data = bytearray(begun.read_bytes())
    data[100:140] = bytes(40)  # the root page of all tables
    begun.write_bytes(data)
    for connect in (connect_for_reading, connect_for_writing):
        with pytest.raises(AtlasError, match=r"is damaged \(.+\); build it again under another name"):
            connect(begun)


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


@pytest.mark.parametrize(
    ("work", "what"),
    [
        (lambda c: c.execute("PRAGMA max_page_count = 1"), "no space is left on the disk"),
        (lambda c: c.execute("PRAGMA query_only = 1"), "it cannot be written; check the folder"),
    ],
)
def test_errors_of_writing(begun: Path, work: Callable[[sqlite3.Connection], object], what: str) -> None:
    connection = connect_for_writing(begun)
    work(connection)
    with pytest.raises(StorageError, match=what), transaction(connection, begun):
        connection.executemany("INSERT INTO meta VALUES (?, ?)", [(str(i), "x" * 4000) for i in range(40)])
    connection.close()
    with pytest.raises(StorageError, match="rerun the same command"), storage_errors(begun):
        raise sqlite3.OperationalError("disk I/O error")
