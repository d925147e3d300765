"""A lock for a run that writes a file over minutes or hours: a second one is refused, a killed one blocks nobody.

The lock is the system's own (flock) on `FILE.lock`, a file beside it that is there while the run is and holds its
process number. The system lets go of it when the process ends, however it ends; the empty name that a kill leaves is
taken over and removed by the next run.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from backlight.errors import StorageError
from backlight.storage.writing import unwritable

try:
    import fcntl
except ImportError:  # Windows: no lock; the checks inside each step remain
    fcntl = None  # type: ignore[assignment]

PATIENCE_S = 1.0
"""How long a lock is waited for: readers hold it for an instant to see whether a run does."""
_RETRY_S = 0.02

_held: dict[str, tuple[int, int, int]] = {}
"""By lock file: process, thread and how many times over. A forked process holds none of its parent's."""


@contextmanager
def locked(path: Path | str) -> Iterator[None]:
    """Hold the lock of a file while the block runs; the same thread may take it again inside.

    Where the file system knows no locks the block runs without one.

    Raises:
        StorageError: Another process or thread holds it, or the folder cannot be written.
    """
    name = _lock_name(path)
    me = (os.getpid(), threading.get_ident())
    *owner, depth = _held.get(name, (0, 0, 0))
    if tuple(owner) == me:
        _held[name] = (*me, depth + 1)
        try:
            yield
        finally:
            if name in _held:
                _held[name] = (*me, depth)
        return
    descriptor = _acquire(path, name)
    _held[name] = (*me, 1)
    try:
        yield
    finally:
        _held.pop(name, None)
        with suppress(OSError):
            Path(name).unlink()  # while it is still held, so that nobody locks a file that is gone
        os.close(descriptor)


def holder(path: Path | str) -> str | None:
    """Return who writes a file now, such as `process 4711`; None where no run holds its lock."""
    try:
        descriptor = os.open(_lock_name(path), os.O_RDONLY)
    except (OSError, ValueError):  # no such file; a null byte in its name
        return None
    try:
        if fcntl is None:
            return None
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _process(descriptor)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return None


def _lock_name(path: Path | str) -> str:
    return f"{os.path.realpath(path)}.lock"


def _process(descriptor: int) -> str:
    os.lseek(descriptor, 0, os.SEEK_SET)
    number = os.read(descriptor, 20).decode("ascii", "replace").strip()
    return f"process {number}" if number.isdigit() else "another process"


def _acquire(path: Path | str, name: str) -> int:
    """Return the descriptor of the locked file."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            descriptor = os.open(name, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise unwritable(path, error) from error
        try:
            if fcntl is not None:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            who = _process(descriptor)
            os.close(descriptor)
            if time.monotonic() >= until:
                raise StorageError(
                    f"{str(path)!r} is being written by {who}; wait until that is done, or write another file"
                ) from None
            time.sleep(_RETRY_S)
            continue
        except OSError:
            pass  # no locks on this file system
        if _is_still(descriptor, name):
            with suppress(OSError):  # a full disk: the number is only for messages
                os.ftruncate(descriptor, 0)
                os.write(descriptor, str(os.getpid()).encode())
            return descriptor
        os.close(descriptor)  # whoever held it has removed it meanwhile


def _is_still(descriptor: int, name: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(name))  # noqa: PTH116
    except FileNotFoundError:
        return False
