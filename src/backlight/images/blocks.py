"""Remote files read in parts: what is read one after the other comes in large blocks, what stands alone by itself."""

from __future__ import annotations

import io
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import final

from backlight.errors import ImageError
from backlight.images.addresses import without_query
from backlight.images.byte_files import Stream
from backlight.images.once import OnceCache
from backlight.images.stores import Store

BLOCK_BYTES = 4 * 2**20
_MOST_BYTES = 64 * 2**20
_STREAK = 8


@dataclass
class _Progress:
    reached: int = 0
    n_near: int = 0
    ahead: int = 0


@final
class Blocks:
    """Blocks of the files of one store: the latest are kept, in at most 64 MB.

    An image that lies no further than a block from what was last read of its file comes with the whole block, for its
    neighbours will be asked for next: a scan makes one request for some forty photographs. One that is further away
    comes alone, so that a few images of a large set do not cost the whole set. After eight neighbours in a row, the
    next block is fetched while this one is used.
    """

    def __init__(self, store: Store, block_bytes: int = BLOCK_BYTES, most_bytes: int = _MOST_BYTES) -> None:
        """Start with no block.

        Args:
            store: Where the files are.
            block_bytes: Size of a block.
            most_bytes: How much of them is kept.
        """
        self.store, self._block_bytes, self._most_bytes = store, block_bytes, most_bytes
        self._kept: OnceCache[bytes | None] = OnceCache(most_bytes, _n_bytes)
        self._lock = threading.Lock()
        # Of each file: where the last read ended, how many neighbours came in a row, the last block fetched ahead.
        self._progress: dict[str, _Progress] = {}

    def __reduce__(self) -> tuple[type[Blocks], tuple[Store, int, int]]:
        """Leave out the blocks and the lock."""
        return Blocks, (self.store, self._block_bytes, self._most_bytes)

    def read(self, path: str, size: int, start: int, stop: int) -> bytes:
        """Return the bytes of a file from `start` to before `stop`.

        Args:
            path: The file.
            size: How many bytes it has.
            start: From 0.
            stop: At most `size`.

        Raises:
            ImageError: They could not be had; the text is the reason alone.
        """
        if stop <= start:
            return b""
        with self._lock:
            progress = self._progress.setdefault(path, _Progress())
            is_near = abs(start - progress.reached) < self._block_bytes
            if not is_near:  # a new place, or the file from its start once more
                progress.n_near = progress.ahead = 0
            progress.n_near += is_near
            progress.reached = stop
        if not is_near or stop - start >= self._block_bytes:
            return self.store.read(path, start, stop)
        first, last = start // self._block_bytes, (stop - 1) // self._block_bytes
        blocks = [self._block(path, size, i) for i in range(first, last + 1)]
        self._start_ahead(path, size, last + 1)  # after these have counted as used, or it might push them out
        whole = b"".join(block for block in blocks if block is not None)
        if None in blocks:  # one image of a block that cannot be had may still be had
            return self.store.read(path, start, stop)
        offset = start - first * self._block_bytes
        return whole[offset : offset + stop - start]

    def _start_ahead(self, path: str, size: int, index: int) -> None:
        """Start to fetch a block in a thread of its own, where one image follows the other and it has not begun yet."""
        with self._lock:
            progress = self._progress[path]
            if progress.n_near < _STREAK or index <= progress.ahead or index * self._block_bytes >= size:
                return
            progress.ahead = index
        # A daemon: nobody waits for it at the end of the program.
        threading.Thread(target=self._fetch_ahead, args=(path, size, index), daemon=True).start()

    def _fetch_ahead(self, path: str, size: int, index: int) -> None:
        # Whatever goes wrong goes wrong again for whoever needs the block, and is told there.
        with suppress(Exception):
            self._block(path, size, index)

    def _block(self, path: str, size: int, index: int) -> bytes | None:
        start = index * self._block_bytes
        return self._kept.get(
            (path, index), partial(self._fetched, path, start, min(size, start + self._block_bytes))
        )

    def _fetched(self, path: str, start: int, stop: int) -> bytes | None:
        try:
            return self.store.read(path, start, stop)
        except ImageError:
            return None


@final
@dataclass(frozen=True)
class RemoteFile:
    """A file of a store, to be read in parts.

    Attributes:
        store: Where it is.
        path: Its path there.
        n_bytes: Its size.
        blocks: Reads ahead for it and for others; None where whoever reads asks for large parts by himself.
    """

    store: Store
    path: str
    n_bytes: int
    blocks: Blocks | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """Its address."""
        return self.store.address(self.path)

    @property
    def place(self) -> str:
        """Its path, without the signature of a signed web address."""
        return without_query(self.path)

    def size(self) -> int:
        """Return its number of bytes, as the store told."""
        return self.n_bytes

    def open(self) -> Stream:
        """Return a stream over it."""
        return _Stream(self)

    def read(self, offset: int, n_bytes: int) -> bytes:
        """Return a part; see `ByteFile.read`."""
        stop = min(offset + n_bytes, self.n_bytes)
        if self.blocks is None:
            return self.store.read(self.path, offset, stop)
        return self.blocks.read(self.path, self.n_bytes, offset, stop)


class _Stream(io.RawIOBase):
    """A position in a remote file."""

    def __init__(self, file: RemoteFile) -> None:
        super().__init__()
        self._file, self._at = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._file.n_bytes}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, n_bytes: int = -1) -> bytes:
        # Bounded before anything is allocated: a damaged header may ask for terabytes.
        left = max(0, self._file.n_bytes - self._at)
        data = self._file.read(self._at, left if n_bytes < 0 else min(n_bytes, left))
        self._at += len(data)
        return data


def _n_bytes(block: bytes | None) -> int:
    return 0 if block is None else len(block)
