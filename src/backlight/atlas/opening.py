"""Opening an atlas: what a killed run left half done is rolled back, and an error says what state the file is in."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from backlight.atlas.damage import BUSY, code_of, damaged, not_an_atlas, reading
from backlight.errors import AtlasError, StorageError
from backlight.storage import holder

TIMEOUT_S = 60.0
"""How long a step waits for readers, and a reader for a step."""


def open_for_reading(path: Path) -> sqlite3.Connection:
    """Return a read-only connection to the database in a file that is not empty.

    A step that a killed run left half committed is rolled back first, which writes the file once.

    Raises:
        AtlasError: There is no such file, it is empty or not a database, or it cannot be read now.
    """
    _check_file(path)
    with reading(path, "its header"):
        connection = _connect(path, "ro")
        try:
            n_pages = _first_read(connection)
        except sqlite3.OperationalError as error:
            connection.close()
            if code_of(error) in BUSY:
                raise
            _roll_back(path, error)
            connection = _connect(path, "ro")
            n_pages = _first_read(connection)
    if not n_pages:
        connection.close()
        raise _nothing_yet(path)
    return connection


def check_begun(connection: sqlite3.Connection, path: Path) -> None:
    """Raise AtlasError unless a build has written what it builds: the first thing that it does."""
    if connection.execute("SELECT 1 FROM meta WHERE key = 'identity'").fetchone() is None:
        raise _nothing_yet(path)


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors of writing into one line that says what to do."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = code_of(error)
        if code == sqlite3.SQLITE_NOTADB:
            raise not_an_atlas(path) from error
        if code == sqlite3.SQLITE_CORRUPT:
            raise damaged(path, "its pages", error) from error
        if code == sqlite3.SQLITE_FULL:
            advice = "no space is left on the disk; free some and rerun the same command to resume"
        elif code in BUSY:
            advice = "another process is reading or writing it; wait for it to finish"
        elif code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            advice = "it cannot be written; check the folder and its permissions"
        else:
            advice = f"{error}; rerun the same command to resume from the last step"
        raise StorageError(f"cannot write the atlas {str(path)!r}: {advice}") from error
    except UnicodeDecodeError as error:
        raise damaged(path, "its pages", error) from error


def how_to_finish(path: Path) -> dict[str, str]:
    """Return what to do about an unfinished atlas, as an error's advice: wait, or rerun the build."""
    who = holder(path)
    if who:
        waiting = f"a build of it is running ({who}); wait for it to finish"
        return {"python": waiting, "command": waiting}
    return RESUME


RESUME = {
    "python": "call build again as before to resume it",
    "command": "rerun the original `backlight build` to resume it",
}
"""An error's advice for an atlas whose build was interrupted."""


def _check_file(path: Path) -> None:
    try:
        is_file, is_folder = path.is_file(), path.is_dir()
    except (
        OSError,
        ValueError,
    ) as error:  # a name that is too long, a folder that may not be entered, a null byte
        reason = getattr(error, "strerror", None) or error
        raise AtlasError(
            f"cannot read {str(path)!r} ({reason}); check the name and its permissions"
        ) from error
    if is_folder:
        raise AtlasError(f"{str(path)!r} is a folder, not an atlas; an atlas is one file, such as a.atlas")
    if not is_file and holder(path):
        raise _nothing_yet(path)
    if not is_file:
        raise AtlasError(
            f"no atlas at {str(path)!r}",
            python=f"build(net, images, {path.name!r}) makes one",
            command=f"`backlight build MODEL IMAGES -o {path.name}` makes one",
        )


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"{path.resolve().as_uri()}?mode={mode}"
    return sqlite3.connect(uri, uri=True, timeout=TIMEOUT_S, check_same_thread=False)


def _first_read(connection: sqlite3.Connection) -> int:
    """Return the number of pages; the first read is where SQLite finds a step to roll back."""
    connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
    (n_pages,) = connection.execute("PRAGMA page_count").fetchone()
    return int(n_pages)


def _roll_back(path: Path, error: sqlite3.OperationalError) -> None:
    """Open the file for writing once: SQLite then rolls back what a killed run left half done."""
    journal = path.with_name(f"{path.name}-journal")
    try:
        with closing(_connect(path, "rw")) as connection:
            _first_read(connection)
    except sqlite3.OperationalError as failed:
        if code_of(failed) in BUSY or not journal.exists():
            raise failed from error
        raise AtlasError(
            f"a killed run left {str(path)!r} in the middle of a step, which cannot be undone in a folder that is "
            f"read-only; copy it and {journal.name} to a folder of your own and open it there"
        ) from failed


def _nothing_yet(path: Path) -> AtlasError:
    who = holder(path)
    if who is not None:
        return AtlasError(f"{str(path)!r} is being created by a running build ({who}); try again in a moment")
    return AtlasError(f"{str(path)!r} is empty, so it is not an atlas yet", **RESUME)
