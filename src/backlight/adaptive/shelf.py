"""Room for arrays with a row for each image: in memory up to a limit, beyond it in files."""

from __future__ import annotations

import os
import tempfile
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.errors import StorageError

_BLOCK_BYTES = 2**20


class Shelf:
    """Room for arrays with a row for each image: in memory up to a limit, beyond it in files.

    The files have no name, so that a killed program leaves none behind.
    """

    def __init__(self, bound_bytes: int) -> None:
        self.left = bound_bytes

    def room(self, shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
        """Return an array of zeros.

        Raises:
            StorageError: The temporary folder has no room for it.
        """
        size = prod(shape) * np.dtype(dtype).itemsize
        if size <= self.left:
            self.left -= size
            return np.zeros(shape, dtype)
        try:
            with tempfile.TemporaryFile() as file:
                _take_room(file.fileno(), size)
                # the map keeps the nameless file after it is closed here
                return np.memmap(file, dtype, "r+", shape=shape)
        except OSError as error:
            raise StorageError(
                f"the temporary folder {tempfile.gettempdir()!r} has no room for {size / 1e6:.0f} MB of images or "
                f"codes ({error.strerror or error}); set TMPDIR to a folder with room, or allow more memory "
                "(--memory, Learning.memory_bytes)"
            ) from error

    def give_back(self, array: NDArray[Any]) -> None:
        """Count the memory of an array as free again."""
        if not isinstance(array, np.memmap):
            self.left += array.nbytes


def _take_room(descriptor: int, size: int) -> None:
    """Allocate a file's blocks on the disk: on a full disk, writing into a mapped file's holes kills the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
        return
    zeros = bytes(min(size, _BLOCK_BYTES))
    for start in range(0, size, _BLOCK_BYTES):
        # the last block is what remains
        os.write(descriptor, zeros[: size - start])
