"""Damaged tar shards, by the thousand: each is read, or refused by a named error, in good time.

`python tests/fuzz/shards.py 2000 0` runs so many from a seed, and prints the counts.
"""

from __future__ import annotations

import io
import sys
import tarfile
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from backlight.errors import ImageError
from backlight.images import open_images
from fuzz.pictures import Counts, try_one

_BLOCK = 512
_FIELDS = {
    "name": (0, 100), "mode": (100, 108), "size": (124, 136), "checksum": (148, 156), "type": (156, 157),
    "link": (157, 257), "magic": (257, 265), "prefix": (345, 500),
}  # fmt: skip
_SIZES = (
    b"77777777777\0", b"\x80" + b"\0" * 5 + b"\xff" * 6, b"\xff" * 12, b"\x80" + b"\xff" * 11, b"00000000000\0",
    b"-0000000001\0", b"99999999999\0", b"            ", b"\0" * 12, b"1_000000000\0", b"\x80" + b"\0" * 11,
)  # fmt: skip
_TYPES = b"\0 01234567xgLKSDMNVA\xff"
_RECORDS = (
    b"30 size=99999999999999999999\n", b"12 size=-5\n", b"9999999 path=x\n", b"0 a=b\n", b"-3 path=x\n", b"garbage",
    b"20 GNU.sparse.major=1\n", b"25 GNU.sparse.map=0,9,9\n", b"24 GNU.sparse.size=9e9\n", b"10 path=\xff\n",
)  # fmt: skip


def run(count: int, seed: int) -> Counts:
    """Return what becomes of so many shards with damaged headers.

    Args:
        count: How many.
        seed: Of every draw; case i of a seed is always the same.
    """
    counts, whole = (
        Counts(),
        [shard(form) for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)],
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.tar"
        for case in range(count):
            rng = np.random.default_rng((seed, case))
            path.write_bytes(damaged(whole[rng.integers(len(whole))], rng))
            try_one(counts, case, lambda: _read(path))
    return counts


def shard(form: int) -> bytes:
    """Return a whole shard with images, labels, a long name and a link."""
    picture = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(picture, "PNG")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=form) as tar:
        for name in ("a.png", "a.cls", "d" * 90 + "/" + "n" * 90 + ".png", "ü.png", "b.json", "c.png"):
            data = picture.getvalue() if name.endswith("png") else b"7"
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("l.png")
        link.type, link.linkname = tarfile.LNKTYPE, "a.png"
        tar.addfile(link)
    return archive.getvalue()


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Return the shard with some of its headers changed, mostly with a checksum that fits the change."""
    broken = bytearray(data)
    headers = [at for at in range(0, len(broken) - _BLOCK, _BLOCK) if broken[at + 257 : at + 262] == b"ustar"]
    for at in rng.choice(headers, size=rng.integers(1, 4)):
        kind = rng.integers(6)
        if kind == 0:
            _set(broken, at, "size", _SIZES[rng.integers(len(_SIZES))])
        elif kind == 1:
            _set(broken, at, "type", bytes([_TYPES[rng.integers(len(_TYPES))]]))
        elif kind == 2:
            name = list(_FIELDS)[rng.integers(len(_FIELDS))]
            start, stop = _FIELDS[name]
            _set(broken, at, name, rng.bytes(stop - start))
        elif kind == 3:
            broken[at + int(rng.integers(_BLOCK))] ^= 1 << int(rng.integers(8))
        elif kind == 4:
            record = _RECORDS[rng.integers(len(_RECORDS))]
            _set(broken, at, "type", rng.choice([b"x", b"g"]))
            broken[at + _BLOCK : at + _BLOCK + len(record)] = record
        else:
            _set(broken, at, "type", b"S")
            broken[at + 386 : at + 386 + 48] = rng.bytes(48)
        if rng.random() < 0.8:
            _put_right(broken, at)
    return bytes(broken[: int(rng.integers(1, len(broken)))] if rng.random() < 0.15 else broken)


def _set(data: bytearray, at: int, name: str, value: bytes) -> None:
    start, stop = _FIELDS[name]
    data[at + start : at + stop] = value[: stop - start].ljust(stop - start, b"\0")


def _put_right(data: bytearray, at: int) -> None:
    """Write the checksum that belongs to a header."""
    data[at + 148 : at + 156] = b" " * 8
    data[at + 148 : at + 156] = b"%06o\0 " % sum(data[at : at + _BLOCK])


def _read(path: Path) -> None:
    source = open_images(path)
    source.fingerprint()
    for i in range(len(source)):
        with suppress(ImageError):  # listed as skipped, which is what is promised
            source.load(i)


if __name__ == "__main__":
    found = run(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    print(f"damaged tar shards: {found}")
    sys.exit(bool(found.raw or found.hangs))
