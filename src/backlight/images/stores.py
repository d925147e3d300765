"""Asking a store for lists and bytes: whatever fsspec reaches, with answers checked and asked for again."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias, TypeVar, final

from backlight.errors import BadInputError, ImageError
from backlight.images.addresses import without_secrets
from backlight.text import one_line

T = TypeVar("T")

N_ATTEMPTS, N_FIRST_ATTEMPTS = 6, 4
"""How often a store is asked; and what is at an address, which people wait for, and often is a slip of the pen."""

FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 20.0
"""Before the second attempt, and at most; each wait is twice the last, and up to half a second more by chance."""

_N_DEFINITE = 2
_DEFINITE = (
    FileNotFoundError,
    PermissionError,
    IsADirectoryError,
    NotADirectoryError,
    NotImplementedError,
)
_MAY_PASS = (408, 425, 429)  # of the refusals of web servers: too slow, too early, too often
_NOT_THERE = (404, 410)

Sizes: TypeAlias = dict[str, int | None]
"""Number of bytes by path; None where the store does not say."""


class _WrongLengthError(OSError):
    """An answer that is shorter or longer than what was asked for."""


@dataclass(frozen=True)
class Found:
    """What is at a path of a store.

    Attributes:
        kind: A file or a folder.
        n_bytes: Of a file; None where the store does not say.
    """

    kind: Literal["file", "folder"]
    n_bytes: int | None


@final
@dataclass(frozen=True)
class Store:
    """A file system of fsspec. Every question is asked several times, with growing waits between.

    How long one answer is waited for is up to the file system, and set in its own configuration. An answer that will
    hardly change (no such file, no permission) is asked for twice.

    Attributes:
        fs: The file system; it can be pickled, and asked from several threads.
    """

    fs: Any

    @classmethod
    def of(cls, address: str) -> tuple[Store, str]:
        """Return the store that an address leads to, and the path in it.

        Raises:
            BadInputError: A package is missing, or the address cannot be understood.
        """
        check_installed(address)
        fsspec: Any = importlib.import_module("fsspec.core")
        try:
            fs, path = fsspec.url_to_fs(address)
        # A driver may refuse an address with whatever it likes.
        except Exception as error:
            raise BadInputError(
                f"cannot open '{without_secrets(address)}': {without_secrets(one_line(error))}"
            ) from error
        return cls(fs), path

    def read(self, path: str, start: int, stop: int) -> bytes:
        """Return the bytes of a file from `start` to before `stop`, all of them.

        Raises:
            ImageError: They could not be had; the text is the reason alone.
        """
        if stop <= start:
            return b""
        return self._ask(lambda: _checked(self.fs.cat_file(path, start=start, end=stop), stop - start))

    def read_whole(self, path: str, n_bytes: int | None = None) -> bytes:
        """Return all bytes of a file.

        Args:
            path: The file.
            n_bytes: How many it has, where that is known: another number is no answer.

        Raises:
            ImageError: They could not be had; the text is the reason alone.
        """
        return self._ask(lambda: _checked(self.fs.cat_file(path), n_bytes))

    def find(self, path: str) -> Found | None:
        """Return what is at a path; None where there is nothing.

        Raises:
            ImageError: The store does not say; the text is the reason alone.
        """
        self.fs.invalidate_cache()
        try:
            info = self._ask(lambda: self.fs.info(path), N_FIRST_ATTEMPTS)
        except ImageError as error:
            if _is_missing(error.__cause__):
                return None
            raise
        return Found("folder" if info.get("type") == "directory" else "file", _size(info))

    def files_below(self, folder: str) -> Sizes:
        """Return the files in a folder and in those below it, by their paths relative to it, sorted.

        Raises:
            ImageError: They cannot be listed; the text is the reason alone.
        """
        self.fs.invalidate_cache()
        top = folder.rstrip("/") + "/"
        files = _files(self._ask(lambda: self.fs.find(folder, detail=True)))
        return {path.removeprefix(top): files[path] for path in sorted(files) if path.startswith(top)}

    def files_in(self, folder: str) -> Sizes:
        """Return the files in a folder, by their paths; `ImageError` as for `files_below`."""
        return _files({own["name"]: own for own in self._ask(lambda: self.fs.ls(folder, detail=True))})

    def matching(self, pattern: str) -> Sizes:
        """Return the files that a pattern with stars matches, by their paths, sorted; as for `files_below`."""
        self.fs.invalidate_cache()
        return dict(sorted(_files(self._ask(lambda: self.fs.glob(pattern, detail=True))).items()))

    def address(self, path: str) -> str:
        """Return how messages call a path."""
        return without_secrets(str(self.fs.unstrip_protocol(path)))

    def _ask(self, call: Callable[[], T], n_attempts: int = N_ATTEMPTS) -> T:
        tenacity: Any = importlib.import_module("tenacity")
        retrying = tenacity.Retrying(
            stop=partial(_has_asked_enough, n_attempts),
            wait=tenacity.wait_exponential(multiplier=FIRST_WAIT_S, max=LONGEST_WAIT_S)
            + tenacity.wait_random(0, FIRST_WAIT_S),
            retry=tenacity.retry_if_exception(_may_pass),
            reraise=True,
        )
        try:
            answer: T = retrying(call)
        except MemoryError:
            raise
        # The clients of stores have no common base for what they raise.
        except Exception as error:
            n_asked = retrying.statistics["attempt_number"]
            raise ImageError(f"{_reason(_told(error))} ({n_asked} attempts)") from _told(error)
        return answer


def check_installed(address: str) -> None:
    """Raise `BadInputError` unless what reads addresses of this kind is installed; nobody is asked for anything."""
    try:
        importlib.import_module("tenacity")
    except ImportError as error:
        raise BadInputError(
            f"'{without_secrets(address)}' is an address, and reading from one needs a package that is not installed; "
            "run: pip install 'backlight[remote]'"
        ) from error
    fsspec: Any = importlib.import_module("fsspec")
    for link in address.split("::"):
        try:
            fsspec.get_filesystem_class(link.partition("://")[0])
        except (ImportError, ValueError) as error:
            raise BadInputError(f"cannot open '{without_secrets(address)}': {one_line(error)}") from error


def _checked(data: bytes, n_bytes: int | None) -> bytes:
    if n_bytes is None or len(data) == n_bytes:
        return data
    what = "; it may not support reading parts of files" if len(data) > n_bytes else ""
    raise _WrongLengthError(f"the store gave {len(data)} bytes instead of {n_bytes}{what}")


def _has_asked_enough(n_attempts: int, state: Any) -> bool:
    most = _N_DEFINITE if _is_definite(_told(state.outcome.exception())) else n_attempts
    return bool(state.attempt_number >= most)


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, Exception) and not isinstance(error, MemoryError)


def _told(error: BaseException) -> BaseException:
    """Return what the store itself said: a web server that cannot be reached is told by fsspec as a missing file."""
    cause = error.__cause__
    is_hidden = isinstance(error, FileNotFoundError) and (
        isinstance(cause, OSError) or hasattr(cause, "status")
    )
    return cause if is_hidden and cause is not None else error


def _is_missing(error: BaseException | None) -> bool:
    return isinstance(error, FileNotFoundError) or getattr(error, "status", None) in _NOT_THERE


def _is_definite(error: BaseException) -> bool:
    """Return whether asking again will hardly help."""
    status = getattr(error, "status", None)
    if isinstance(status, int):
        return 400 <= status < 500 and status not in _MAY_PASS
    return isinstance(error, _DEFINITE)


def _reason(error: BaseException) -> str:
    if _is_missing(error):
        return "no such file"
    if isinstance(error, TimeoutError):
        return "the store did not answer in time"
    return without_secrets(one_line(error, 160))


def _files(infos: Mapping[str, Mapping[str, Any]]) -> Sizes:
    return {path: _size(info) for path, info in infos.items() if info.get("type") == "file"}


def _size(info: Mapping[str, Any]) -> int | None:
    size = info.get("size")
    return size if isinstance(size, int) and size >= 0 else None
