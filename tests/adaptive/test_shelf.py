"""The shelf: it counts what it holds, and what does not fit lies in files that vanish with the program."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest

from backlight.adaptive.shelf import Shelf
from backlight.errors import StorageError


def test_a_shelf_counts_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    shelf = Shelf(100)
    first = shelf.room((10,), np.float64)
    assert not isinstance(first, np.memmap)
    second = shelf.room((3,), np.float64)
    assert isinstance(second, np.memmap)
    assert second.tolist() == [0, 0, 0]
    shelf.give_back(second)
    assert shelf.left == 20
    shelf.give_back(first)
    assert not isinstance(shelf.room((12,), np.float64), np.memmap)
    del shelf
    second[:] = 1, 2, 3
    assert second.tolist() == [1, 2, 3]
    assert list(tmp_path.iterdir()) == []  # even while the array lives: a kill leaves nothing


def test_room_in_a_file_is_taken_for_real_and_a_full_folder_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[tuple[int, int]] = []

    def full(descriptor: int, start: int, size: int) -> None:
        taken.append((start, size))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(
        StorageError,
        match=r"the temporary folder '.+' has no room for 8 MB of images or codes \(No space left on device\); "
        r"set TMPDIR to a folder with room, or allow more memory \(--memory, Learning\.memory_bytes\)",
    ):
        Shelf(0).room((2, 10**6), np.float32)
    assert taken == [(0, 8 * 10**6)]
    monkeypatch.delattr(os, "posix_fallocate")  # a system without it gets zeros
    room = Shelf(0).room((4, 1), np.float32)
    assert isinstance(room, np.memmap)
    assert not room.any()
