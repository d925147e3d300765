"""Damage: the one place that turns whatever goes wrong while an atlas is read into one line about its file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import NoReturn

from backlight.atlas.opening import NOT_DAMAGE, reading_errors
from backlight.errors import AtlasError, DamagedAtlasError

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
        _raise(path, place, error)
    # SQLite, NumPy, Pillow, zipfile and json answer a damaged file with some twenty kinds of errors, MemoryError
    # and RecursionError among them.
    except Exception as error:
        raise damaged(path, place, error) from error


def damaged(path: Path, place: str, reason: str | Exception) -> DamagedAtlasError:
    """Return the error for a damaged part of an atlas."""
    text = _in_words(reason) if isinstance(reason, Exception) else reason
    return DamagedAtlasError(
        f"the atlas {_shown(path)} is damaged in {place}: {text}; "
        f"`backlight check {printable(quote(str(path)))}` lists all damage, restore a copy or build it anew",
        f"{place}: {text}",
    )


def printable(text: str) -> str:
    r"""Return a text from a file as it may be shown in a terminal: control characters escaped.

    Example:
        >>> printable("a\x1b[2Jb")
        'a\\x1b[2Jb'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in text)


def _raise(path: Path, place: str, error: sqlite3.Error) -> NoReturn:
    """Raise what an error of SQLite stands for: damage, or a file that cannot be read now."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None and isinstance(error, sqlite3.ProgrammingError):
        raise AtlasError(f"the atlas {_shown(path)} is closed; open it again with open_atlas") from error
    if code == sqlite3.SQLITE_INTERRUPT:
        raise damaged(path, place, "it holds more rows than its file has room for") from error
    if code is not None and code & 0xFF in NOT_DAMAGE:
        with reading_errors(path):
            raise error
    raise damaged(path, place, error) from error


def _in_words(error: Exception) -> str:
    """Return the first line of an error, short and harmless to print."""
    lines = str(error).strip().splitlines()
    if isinstance(error, KeyError):
        lines = [f"no entry {error}"]
    text = printable(lines[0]) if lines else type(error).__name__
    return text if len(text) <= _MOST_OF_A_REASON else f"{text[: _MOST_OF_A_REASON - 1]}…"


def _shown(path: Path) -> str:
    return repr(str(path))
