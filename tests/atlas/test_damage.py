"""Damage: whatever goes wrong while an atlas is read becomes one line about its file."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest

from backlight.atlas.damage import reading
from backlight.errors import AtlasError, DamagedAtlasError
from backlight.storage import locked


def raised(path: Path, error: BaseException) -> AtlasError:
    """Return what becomes of an error while the table of a file is read."""
    with pytest.raises(AtlasError, match="atlas") as caught, reading(path, "table meta"):
        raise error
    return caught.value


def of_sqlite(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("what SQLite says")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("rank must be 0\nand more"), "rank must be 0"),
        (KeyError("phase"), "no entry 'phase'"),
        (ValueError("a\x1b[2J"), r"a\x1b[2J"),
        (RecursionError(), "RecursionError"),
        (MemoryError(), "MemoryError"),
        (of_sqlite(sqlite3.SQLITE_CORRUPT), "what SQLite says"),
        (of_sqlite(sqlite3.SQLITE_INTERRUPT), "it holds more rows than its file has room for"),
    ],
)
def test_any_error_becomes_one_line_that_names_the_file_the_place_and_the_reason(
    error: Exception, reason: str
) -> None:
    found = raised(Path("my a.atlas"), error)
    assert isinstance(found, DamagedAtlasError)
    assert found.finding == f"table meta: {reason}"
    assert str(found) == (
        f"'my a.atlas' is damaged (table meta: {reason}); build it again under another name or restore a copy; "
        "`backlight check 'my a.atlas'` lists all damage"
    )


def test_a_long_reason_is_cut() -> None:
    found = raised(Path("a.atlas"), ValueError("x" * 10_000))
    assert len(str(found)) < 400
    assert "xxx…)" in str(found)


def test_errors_that_say_what_is_wrong_and_interrupts_pass_unchanged() -> None:
    own = AtlasError("this atlas is not finished")
    assert raised(Path("a.atlas"), own) is own
    with pytest.raises(KeyboardInterrupt, match="stop"), reading(Path("a.atlas"), "table meta"):
        raise KeyboardInterrupt("stop")


@pytest.mark.parametrize(
    ("code", "what"),
    [
        (sqlite3.SQLITE_NOTADB, "exists and is not an atlas; it was not changed: choose another name"),
        (sqlite3.SQLITE_CANTOPEN, "cannot read .* check the file and its permissions"),
        (sqlite3.SQLITE_BUSY, "is locked by another process; try again when it has finished"),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, "is locked by another process"),
    ],
)
def test_a_file_that_cannot_be_read_now_is_not_called_damaged(tmp_path: Path, code: int, what: str) -> None:
    found = raised(tmp_path / "a.atlas", of_sqlite(code))
    assert not isinstance(found, DamagedAtlasError)
    assert re.search(what, str(found))


def test_a_reader_is_told_who_holds_the_lock(tmp_path: Path) -> None:
    with locked(tmp_path / "a.atlas"):
        found = raised(tmp_path / "a.atlas", of_sqlite(sqlite3.SQLITE_BUSY))
    assert "a.atlas' is being written by a running build or study (process" in str(found)


def test_a_connection_that_was_closed_is_no_damage() -> None:
    connection = sqlite3.connect(":memory:")
    connection.close()
    with (
        pytest.raises(AtlasError, match=r"'a\.atlas' is closed; open it again with open_atlas"),
        reading(Path("a.atlas"), "table meta"),
    ):
        connection.execute("SELECT 1")
