"""Files that hold many images, read in parts: what is asked of one, and those of this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BufferedIOBase, RawIOBase
from pathlib import Path
from typing import Protocol, TypeAlias, TypeVar, final, runtime_checkable

from backlight.errors import ImageError

S = TypeVar("S")
T = TypeVar("T")
Stream: TypeAlias = BufferedIOBase | RawIOBase

_N_AT_ONCE = 8
_SLICE = 1024


@runtime_checkable
class ByteFile(Protocol):
    """A file that is read in parts, from several threads; it can be pickled."""

    @property
    def name(self) -> str:
        """How messages call it: its path or its address."""

    @property
    def place(self) -> str:
        """Its path, "/" between parts; two files of a set are told apart by it."""

    def size(self) -> int:
        """Return its number of bytes."""

    def open(self) -> Stream:
        """Return a stream over it that can be moved, for one thread."""

    def read(self, offset: int, n_bytes: int) -> bytes:
        """Return so many bytes from an offset; fewer only where the file ends.

        Raises:
            ImageError: They cannot be had; the text is the reason alone.
        """


@final
@dataclass(frozen=True)
class LocalFile:
    """A file of this machine's file system.

    Attributes:
        path: Absolute.
    """

    path: Path

    @property
    def name(self) -> str:
        """Its path."""
        return str(self.path)

    @property
    def place(self) -> str:
        """Its path, "/" between parts."""
        return self.path.as_posix()

    def size(self) -> int:
        """Return its number of bytes now."""
        return self.path.stat().st_size

    def open(self) -> Stream:
        """Return the open file."""
        return self.path.open("rb")

    def read(self, offset: int, n_bytes: int) -> bytes:
        """Return a part; see `ByteFile.read`."""
        # Opened each time: threads share no position, and no descriptor is kept open.
        try:
            with self.path.open("rb") as stream:
                stream.seek(offset)
                # Never asked for more than there is: a header may announce terabytes.
                return stream.read(max(0, min(n_bytes, self.size() - offset)))
        except OSError as error:
            raise ImageError(error.strerror or type(error).__name__) from error


def as_byte_files(files: Sequence[Path | ByteFile]) -> tuple[ByteFile, ...]:
    """Return files to be read in parts, of paths and of files that are such already."""
    return tuple(LocalFile(file.absolute()) if isinstance(file, Path) else file for file in files)


def of_each(files: Sequence[ByteFile], read: Callable[[int, ByteFile], T]) -> list[T]:
    """Return what `read` gives for each file and its position, in order; of remote files several at a time.

    What `read` raises is passed on, that of the first file first.
    """
    if all(isinstance(file, LocalFile) for file in files):
        return [read(i, file) for i, file in enumerate(files)]
    return several_at_once(lambda own: read(*own), list(enumerate(files)))


def several_at_once(call: Callable[[S], T], given: Sequence[S]) -> list[T]:
    """Return what a call gives for each of several things, in order, where it mostly waits for a store.

    Example:
        >>> several_at_once(len, ["a", "bc"])
        [1, 2]
    """
    pool = ThreadPoolExecutor(_N_AT_ONCE, thread_name_prefix="backlight-list")
    try:
        # in slices: a million waiting calls would take a gigabyte
        slices = (given[i : i + _SLICE] for i in range(0, len(given), _SLICE))
        return [found for own in slices for found in pool.map(call, own)]
    finally:
        pool.shutdown(cancel_futures=True)


def below_shared_folder(files: Sequence[ByteFile]) -> list[str]:
    """Return the path of each file relative to the innermost folder that holds all of them.

    Example:
        >>> below_shared_folder([LocalFile(Path("/data/a/s.tar")), LocalFile(Path("/data/b/c/s.tar"))])
        ['a/s.tar', 'b/c/s.tar']
    """
    parts = [file.place.split("/") for file in files]
    n_shared, least = 0, min(len(own) for own in parts) - 1
    while n_shared < least and len({own[n_shared] for own in parts}) == 1:
        n_shared += 1
    return ["/".join(own[n_shared:]) for own in parts]
