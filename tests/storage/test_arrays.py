"""Arrays come back as they were saved; what no `np.save` of numbers writes is refused before room is made for it."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from backlight.storage import read_npy, read_npz
from backlight.storage.arrays import BROKEN

ARRAYS = {
    "plain": np.arange(6.0).reshape(2, 3),
    "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "none": np.zeros((0, 4), np.int8),
    "one": np.array(7),
    "words": np.array(["a", "bc"]),
    "answers": np.array([True, False]),
}


def test_arrays_come_back_as_they_were(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", **ARRAYS)  # type: ignore[arg-type]
    found = read_npz(tmp_path / "a.npz")
    assert list(found) == list(ARRAYS)
    for name, own in ARRAYS.items():
        assert (found[name].dtype, found[name].shape) == (own.dtype, own.shape)
        assert np.array_equal(found[name], own)
        assert found[name].flags.writeable
        np.save(tmp_path / "a.npy", own)
        assert np.array_equal(read_npy(tmp_path / "a.npy"), own)


def npy(kind: str, shape: str) -> bytes:
    text = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(8)


@pytest.mark.parametrize(
    ("member", "what"),
    [
        (npy("<f8", f"({2**40},)"), "said to hold .* bytes, more than there are"),
        (npy("<U0", f"({2**40},)"), "said to hold 0 bytes"),
        (npy("|O", "(1,)"), "it holds object, not numbers"),
        (npy("<f8", "(-1,)"), "shape"),
        (npy("|u1", "(3,)"), "continues after its end"),
        (npy("<f8", "(" * 300), "."),
        (b"\x80\x04.", "magic string"),
    ],
)
def test_what_is_no_array_is_refused(member: bytes, what: str) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as out:
        out.writestr("a.npy", member)
    with pytest.raises(BROKEN, match=what):
        read_npz(buffer)


def test_a_member_is_no_larger_than_its_compressed_bytes_can_give() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("a.npy", npy("<f8", "(1,)"))
        out.filelist[0].file_size = 2**40
    with pytest.raises(ValueError, match="said to be larger than it can be"):
        read_npz(buffer)
