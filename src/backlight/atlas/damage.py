"""Damage: the one place that turns whatever goes wrong while an atlas is read into one line about its file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote

from backlight.errors import AtlasError, DamagedAtlasError
from backlight.storage import holder
from backlight.text import shortened, visible

BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_UNREADABLE = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY)

_MOST_OF_A_REASON = 200


@contextmanager
def reading(path: Path, place: str) -> Iterator[None]:
    """Read a part of an atlas; every error in it becomes an AtlasError.

    Nothing else may run in the block: an error of the caller's would be told as damage of the file.

    Args:
        path: The atlas.
        place: The table and the row, in words.

    Raises:
        DamagedAtlasError: The part cannot be read or holds what no build writes.
        AtlasError: The atlas is closed or busy; or what the block raised itself.
    """
    try:
        yield
    except AtlasError:
        raise
    except sqlite3.Error as error:
        raise _from_sqlite(path, place, error) from error
    # SQLite, NumPy, Pillow, zipfile and json answer a damaged file with some twenty kinds of errors, MemoryError
    # and RecursionError among them.
    except Exception as error:
        raise damaged(path, place, error) from error


def damaged(path: Path, place: str, reason: str | Exception) -> DamagedAtlasError:
    """Return the error for a damaged part of an atlas."""
    text = _in_words(reason) if isinstance(reason, Exception) else reason
    return DamagedAtlasError(
        f"{_shown(path)} is damaged ({place}: {text}); build it anew under another name or restore a copy; "
        f"`backlight check {visible(quote(str(path)))}` lists all damage",
        f"{place}: {text}",
    )


def not_an_atlas(path: Path) -> AtlasError:
    """Return the error for a file of something else."""
    return AtlasError(f"{_shown(path)} exists and is no atlas; it is left as it is, choose another name")


def code_of(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code."""
    return int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)) & 0xFF


def _from_sqlite(path: Path, place: str, error: sqlite3.Error) -> AtlasError:
    """Return what is true when SQLite fails to read: the file is damaged, locked, closed or not allowed."""
    code = code_of(error)
    if isinstance(error, sqlite3.ProgrammingError) and not hasattr(error, "sqlite_errorcode"):
        return AtlasError(f"the atlas {_shown(path)} is closed; open it again with open_atlas")
    if code == sqlite3.SQLITE_NOTADB:
        return not_an_atlas(path)
    if code in BUSY:
        who = holder(path)
        by = f"being written by a running build or study ({who})" if who else "locked by another process"
        return AtlasError(f"{_shown(path)} is {by}; try again when that is done")
    if code in _UNREADABLE:
        return AtlasError(f"cannot read {_shown(path)} ({error}); check the file and its permissions")
    if code == sqlite3.SQLITE_INTERRUPT:
        return damaged(path, place, "it holds more rows than its file has room for")
    return damaged(path, place, error)


def _in_words(error: Exception) -> str:
    """Return the first line of an error, short and harmless to print."""
    lines = str(error).strip().splitlines()
    if isinstance(error, KeyError):
        lines = [f"no entry {error}"]
    return shortened(visible(lines[0]) if lines else type(error).__name__, _MOST_OF_A_REASON)


def _shown(path: Path) -> str:
    return repr(str(path))
