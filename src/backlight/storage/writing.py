"""Writing files so that a reader finds the old content or the new one, never a part of either."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from backlight.errors import BadInputError, StorageError, first_line

_LONGEST_NAME = 100


@contextmanager
def replacing(*paths: Path | str) -> Iterator[list[Path]]:
    """Hand out a fresh file for each path; they take the paths' places together when the block ends well.

    The fresh files lie in the same folders and have the same endings. Each is on the disk before the first takes
    its place. Where the block raises, or the disk is full, the fresh files are removed and what was there stays
    as it was. An existing file keeps its permissions; a link keeps pointing to the file that it points to.

    *Convention*: a kill between two replacements leaves the first of the paths new and the second old, so what
    belongs together must be able to detect it (a digest of one in the other).

    Raises:
        StorageError: They cannot be written.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     with replacing(f"{folder}/a.txt") as (fresh,):
        ...         _ = fresh.write_text("whole")
        ...     Path(folder, "a.txt").read_text()
        'whole'
    """
    asked = [Path(path) for path in paths]
    targets: list[Path] = []
    fresh: list[Path] = []
    try:
        for path in asked:
            with _as_storage_error(path):
                targets.append(_target(path))
                fresh.append(_beside(targets[-1]))
        with _as_storage_error(asked[0]):
            yield fresh
        for path, new in zip(asked, fresh, strict=True):
            with _as_storage_error(path):
                _settle(new)
        for path, new, target in zip(asked, fresh, targets, strict=True):
            with _as_storage_error(path):
                os.replace(new, target)  # noqa: PTH105  (atomic on every system, as Path.replace, but says so)
        _flush_folders({target.parent for target in targets})
    finally:
        for new in fresh:
            with suppress(OSError):
                new.unlink(missing_ok=True)


@contextmanager
def _as_storage_error(path: Path) -> Iterator[None]:
    """Turn the system's errors into one line that names the file."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise unwritable(path, error) from error


def sweep(path: Path | str) -> None:
    """Remove fresh files of a path that a killed process has left; call it only while nothing else writes the path."""
    target = Path(os.path.realpath(path))
    fresh = re.compile(rf"{re.escape(_prefix(target))}[0-9a-f]{{8}}\.new({re.escape(target.suffix)})?")
    with suppress(OSError):
        for left in target.parent.iterdir():
            if not fresh.fullmatch(left.name):
                continue
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)


def check_place(path: Path | str, what: str = "file") -> Path:
    """Return a path that can be written, as far as that can be known before any work is done.

    Args:
        path: The file to write.
        what: What it will be, for the message.

    Raises:
        BadInputError: Its folder does not exist, or it is a folder itself.
        StorageError: The folder or the file is not writable.
    """
    path = Path(path)
    try:
        is_folder, has_folder = path.is_dir(), path.parent.is_dir()
        if has_folder and not is_folder:
            _check_access(_target(path).parent)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise unwritable(path, error) from error
    if is_folder:
        raise BadInputError(f"{str(path)!r} is a folder; give the name of the {what} to write")
    if not has_folder:
        raise BadInputError(f"no such folder: {str(path.parent)!r}; make it first")
    return path


def check_folder(path: Path | str) -> Path:
    """Return a folder to write into, which need not exist yet, as far as that can be known before any work is done.

    Raises:
        BadInputError: It is a file, or inside one.
        StorageError: It is not writable, or cannot be made.
    """
    path = Path(path)
    try:
        whole = path.absolute()
        there = path if path.exists() else next(own for own in whole.parents if own.exists())
        is_folder = there.is_dir()
        if is_folder:
            _check_access(there)
    except (OSError, ValueError) as error:
        raise unwritable(path, error) from error
    if not is_folder:
        raise BadInputError(f"{str(there)!r} is a file; pictures are written into a folder")
    return path


def make_folder(path: Path | str) -> Path:
    """Make a folder and its parents unless they exist, and return it.

    Raises:
        StorageError: It cannot be made.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error
    return path


def unwritable(path: Path | str, error: Exception) -> StorageError:
    """Return the one line for a file that cannot be written."""
    reason = getattr(error, "strerror", None) or first_line(error)
    return StorageError(f"cannot write {str(path)!r} ({reason}); choose another place")


def _target(path: Path) -> Path:
    """Return the file that a path leads to through links, if it may be replaced."""
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(21, "Is a directory", str(path))
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(13, "Permission denied", str(path))
    return target


def _check_access(folder: Path) -> None:
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(13, "Permission denied", str(folder))


def _prefix(target: Path) -> str:
    return f".{target.name[:_LONGEST_NAME]}."


def _beside(target: Path) -> Path:
    """Return a new, empty file in the same folder; the ending stays, since libraries choose the format by it."""
    fresh = target.with_name(f"{_prefix(target)}{secrets.token_hex(4)}.new{target.suffix}")
    os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    if target.exists():
        fresh.chmod(target.stat().st_mode & 0o7777)
    return fresh


def _settle(fresh: Path) -> None:
    """Bring a file to the disk before it gets its name: a power cut leaves the old content, not an empty file."""
    with fresh.open("rb+") as file:
        os.fsync(file.fileno())


def _flush_folders(folders: set[Path]) -> None:
    """Bring the new names to the disk, where the system can do that for folders."""
    for folder in folders:
        with suppress(OSError):
            opened = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(opened)
            finally:
                os.close(opened)
