"""Damaged pictures, arrays and list files, by the thousand: each is read, or refused by a named error, in good time.

`python tests/fuzz/pictures.py 20000 0` runs so many from a seed, and prints the counts.
"""

from __future__ import annotations

import io
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from backlight.errors import BadInputError
from backlight.images import Preprocessing, decode, open_images

HANG_SECONDS = 5
_KINDS = ("flip", "bytes", "number", "cut", "insert", "repeat", "splice")
_NUMBERS = (
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\0\0\0\0",
    b"\0\0\0\x80",
    b"\x7f\xff\xff\xff",
    b"\x01\0\0\0",
)


@dataclass
class Counts:
    """What became of the damaged files.

    Attributes:
        read: They were read after all.
        refused: Refused by a named error of one line.
        raw: Any other exception, with the number of the case.
        hangs: Cases that took more than `HANG_SECONDS`.
    """

    read: int = 0
    refused: int = 0
    raw: list[str] = field(default_factory=list)
    hangs: list[int] = field(default_factory=list)

    def __str__(self) -> str:
        """Return the counts, and each fault on a line of its own."""
        summary = (
            f"{self.read} read, {self.refused} refused, {len(self.raw)} raw errors, {len(self.hangs)} hangs"
        )
        return "\n".join([summary, *self.raw, *(f"case {case} hangs" for case in self.hangs)])


class _TooLong(BaseException):
    """Not an Exception: what catches all exceptions must not catch the end of time."""


def run(count: int, seed: int) -> Counts:
    """Return what becomes of so many damaged pictures, arrays and lists.

    Args:
        count: How many.
        seed: Of every draw; case i of a seed is always the same.
    """
    counts, seeds, lists = Counts(), pictures(), list_files()
    with tempfile.TemporaryDirectory() as folder:
        for case in range(count):
            rng = np.random.default_rng((seed, case))
            if case % 10 == 0:
                names = sorted(lists)
                name = names[rng.integers(len(names))]
                path = Path(folder) / name
                path.write_bytes(damaged(lists[name], lists["all.txt"], rng))
                try_one(counts, case, lambda path=path: _read_list(path))
            else:
                data, other = (seeds[i] for i in rng.integers(len(seeds), size=2))
                broken = damaged(data, other, rng)
                try_one(counts, case, lambda broken=broken: _read_picture(broken))
    return counts


def try_one(counts: Counts, case: int, read: Callable[[], object]) -> None:
    """Read one damaged file and count what comes of it."""
    try:
        with warnings.catch_warnings(), _limited():
            warnings.simplefilter("ignore")
            read()
        counts.read += 1
    except BadInputError as error:
        if "\n" in str(error) or len(str(error)) > 600:
            counts.raw.append(f"case {case}: not a line of bearable length: {str(error)[:700]!r}")
        counts.refused += 1
    except _TooLong:
        counts.hangs.append(case)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        counts.raw.append(
            f"case {case}: {type(error).__name__}: {error} ({where.filename}:{where.lineno})"[:400]
        )


@contextmanager
def _limited() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise _TooLong

    # Seconds of the processor, so that a busy machine makes no hangs.
    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, HANG_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def damaged(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Return the file with one to three faults, most of them near its start, where headers are."""
    broken = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        reach = max(1, len(broken) if rng.random() < 0.4 else min(len(broken), 200))
        at, length = int(rng.integers(reach)), int(rng.integers(1, 64))
        kind = _KINDS[rng.integers(len(_KINDS))]
        if kind == "flip" and at < len(broken):
            broken[at] ^= 1 << int(rng.integers(8))
        elif kind == "bytes":
            broken[at : at + length] = rng.bytes(length)
        elif kind == "number":
            broken[at : at + 4] = _NUMBERS[rng.integers(len(_NUMBERS))]
        elif kind == "cut":
            del broken[int(rng.integers(len(broken) + 1)) :]
        elif kind == "insert":
            broken[at:at] = rng.bytes(length)
        elif kind == "repeat":
            broken[at:at] = broken[at : at + length] * int(rng.integers(1, 20))
        elif kind == "splice":
            start = int(rng.integers(len(other) + 1))
            broken[at : at + length] = other[start : start + length]
    return bytes(broken)


def pictures() -> list[bytes]:
    """Return whole pictures of many formats and depths, and arrays."""
    rng = np.random.default_rng(0)
    colour = Image.fromarray(rng.integers(0, 256, (24, 20, 3), dtype=np.uint8))
    deep = rng.integers(0, 4096, (24, 20), dtype=np.uint16)
    exif = Image.Exif()
    exif[0x0112] = 6
    frames = {"save_all": True, "append_images": [colour.rotate(90)]}
    saved = [
        (colour, "PNG", {"exif": exif}), (colour.convert("P"), "PNG", {"transparency": 3}),
        (colour.convert("L"), "PNG", {}), (colour.convert("LA"), "PNG", {}), (Image.fromarray(deep), "PNG", {}),
        (colour, "JPEG", {"exif": exif}), (colour, "JPEG", {"progressive": True}),
        (colour.convert("CMYK"), "JPEG", {}), (colour.convert("P"), "GIF", frames),
        (colour, "WEBP", {"exif": exif}), (colour, "WEBP", {"lossless": True, **frames}),
        (colour, "TIFF", {"exif": exif}), (colour, "TIFF", {"compression": "tiff_lzw"}),
        (colour, "TIFF", {"compression": "tiff_adobe_deflate"}), (colour, "TIFF", {"compression": "jpeg"}),
        (Image.fromarray(deep), "TIFF", {}), (Image.fromarray(deep.astype(np.int32)), "TIFF", {}),
        (Image.fromarray((deep / 4095).astype(np.float32)), "TIFF", {}),
        (colour, "BMP", {}), (colour.convert("P"), "BMP", {}), (Image.fromarray(deep), "PPM", {}),
        (colour, "PPM", {}), (colour, "EPS", {}), (colour, "ICO", {}), (colour, "TGA", {}),
    ]  # fmt: skip
    found = [_bytes(lambda stream, own=own: own[0].save(stream, own[1], **own[2])) for own in saved]
    arrays = [deep, deep.astype(">i4"), deep / 4095, np.asarray(colour), np.asarray(colour)[..., :1] > 9]
    found += [_bytes(lambda stream, own=own: np.save(stream, own)) for own in arrays]
    found.append(_bytes(lambda stream: np.save(stream, np.array([[{}]], object), allow_pickle=True)))
    found.append(_bytes(lambda stream: np.savez(stream, a=deep)))
    return found


def list_files() -> dict[str, bytes]:
    """Return whole lists of images, by the names of the files."""
    lines = [f"images/{i} x.png" for i in range(40)]
    return {
        "all.txt": "\n".join(lines).encode(),
        "labels.txt": "\n".join(f"{line}\tcat {i}" for i, line in enumerate(lines)).encode(),
        "table.csv": ("path,label\n" + "\n".join(f'"{line}",dog' for line in lines)).encode(),
        "table.tsv": ("path\tlabel\n" + "\n".join(f"{line}\tdög" for line in lines)).encode(),
    }


def _bytes(save: Callable[[io.BytesIO], object]) -> bytes:
    stream = io.BytesIO()
    save(stream)
    return stream.getvalue()


def _read_picture(data: bytes) -> None:
    picture = decode(data)
    picture.convert("RGB")
    Preprocessing(16, (16, 16), (0.5,), (0.25,), range=(0, 4095)).tensor(picture)


def _read_list(path: Path) -> None:
    source = open_images(path)
    source.fingerprint()
    for i in range(min(len(source), 3)):
        source.load(i)


if __name__ == "__main__":
    found = run(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    print(f"damaged pictures, arrays and lists: {found}")
    sys.exit(bool(found.raw or found.hangs))
