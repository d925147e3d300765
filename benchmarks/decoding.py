"""Decoding JPEG files in one thread: Pillow, torchvision.io and simplejpeg, and Pillow's draft mode.

All take turns in one run; what counts is the processor's time. A reader is timed alone, and from the bytes to a
network's input, and its pictures are compared with Pillow's, pixel for pixel. Pillow uses its memory again, as in a
build, or frees it after each picture, as it does by itself. Draft mode lets the JPEG library shrink a
picture by a power of two while it decodes, so it gives other pixels wherever it does anything. simplejpeg is left out
unless it is installed. Prints tables and writes benchmarks/results/decoding.json.

    python benchmarks/decoding.py [--images 100] [--rounds 7] [--quick]
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from io import BytesIO
from typing import Any

import numpy as np
import torch
from PIL import Image, features
from torchvision.io import ImageReadMode, decode_jpeg

from backlight.images import Preprocessing
from backlight.images.decode import decode_unnamed
from backlight.images.reuse import reused_memory
from common import machine, number, photographs, print_table, ratio, settings_from, write_results
from scan import QUALITY, take_turns

RESIZE, CROP = 256, 224
FIRST, FREED = "Pillow", "Pillow, memory freed"
_MODULES = {"pillow": "PIL", "simplejpeg": "simplejpeg"}
SIZES: dict[str, tuple[int, int] | None] = {
    "as they are": None,
    "500x375": (500, 375),
    "2000x1500": (2000, 1500),
}
"""Width and height of the pictures of each set."""


@dataclass(frozen=True)
class Settings:
    """How much is measured.

    Attributes:
        images: Number of photographs.
        rounds: How often each reader goes through them; they take turns, and the median counts.
        sets: Which sets of `SIZES`.
    """

    images: int = 100
    rounds: int = 7
    sets: tuple[str, ...] = tuple(SIZES)


QUICK = Settings(images=10, rounds=1, sets=("as they are", "500x375"))


def run(settings: Settings) -> dict[str, Any]:
    """Return the times and differences of each reader on each set, as plain JSON."""
    torch.set_num_threads(1)
    rows = []
    for name in settings.sets:
        encoded = [_encoded(path.read_bytes(), SIZES[name]) for path in photographs(settings.images)]
        rows += measure(name, encoded, settings.rounds)
        print_table(name, *table([row for row in rows if row["set"] == name]))
    return {"machine": _machine(), "settings": asdict(settings), "rows": rows}


def measure(name: str, encoded: Sequence[bytes], rounds: int) -> list[dict[str, Any]]:
    """Return a row for each reader: milliseconds per picture, Pillow's time over it, and what differs from Pillow."""
    preprocessing = Preprocessing(RESIZE, (CROP, CROP), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    known = readers()
    calls: dict[str, Callable[[], object]] = {}
    for kind, read in known.items():
        memory = nullcontext if kind == FREED else reused_memory
        calls[f"decode {kind}"] = partial(_each, read, encoded, memory)
        calls[f"load {kind}"] = partial(_each, partial(_input, read, preprocessing), encoded, memory)
    # of the processor: other programs of the machine do not count
    seconds = take_turns(calls, rounds, time.process_time)
    rows = []
    for kind, read in known.items():
        row: dict[str, Any] = {"set": name, "reader": kind, "images": len(encoded)}
        for step in ("decode", "load"):
            row[f"{step}_ms"] = 1000 * seconds[f"{step} {kind}"] / len(encoded)
            row[f"{step}_ratio"] = seconds[f"{step} {FIRST}"] / seconds[f"{step} {kind}"]
        rows.append(row | compared(known[FIRST], read, preprocessing, encoded))
    return rows


def readers() -> dict[str, Callable[[bytes], Image.Image]]:
    """Return what decodes the bytes of a JPEG file into an RGB picture, by name."""
    known: dict[str, Callable[[bytes], Any]] = {FIRST: decode_unnamed, FREED: decode_unnamed}
    known["torchvision.io"] = _torchvision
    if importlib.util.find_spec("simplejpeg"):
        known["simplejpeg"] = _simplejpeg
    return {**known, "Pillow, draft": _draft}


def compared(
    first: Callable[[bytes], Image.Image],
    read: Callable[[bytes], Image.Image],
    preprocessing: Preprocessing,
    encoded: Sequence[bytes],
) -> dict[str, Any]:
    """Return how many pictures and inputs are those of the first reader, and the largest difference of an input."""
    same_pictures = same_inputs = 0
    largest = 0.0
    for data in encoded:
        one, other = first(data), read(data)
        same_pictures += one.size == other.size and np.array_equal(np.asarray(one), np.asarray(other))
        pictures = [np.asarray(preprocessing.picture(own), np.int16) for own in (one, other)]
        difference = int(np.abs(pictures[0] - pictures[1]).max())
        same_inputs += difference == 0
        largest = max(largest, difference)
    return {"same_pictures": same_pictures, "same_inputs": same_inputs, "largest": largest}


def table(rows: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return the table: header and rows."""
    header = ["pictures", "reader", "decoding, ms", "ratio", "to the input, ms", "ratio"]
    header += ["same pixels", "same input", "largest difference"]
    cells = []
    for row in rows:
        own = [row["set"], row["reader"], number(row["decode_ms"]), ratio(row["decode_ratio"])]
        own += [number(row["load_ms"]), ratio(row["load_ratio"])]
        own += [f"{row[key]} of {row['images']}" for key in ("same_pictures", "same_inputs")]
        cells.append([*own, f"{row['largest']:.0f}"])
    return header, cells


def _machine() -> dict[str, Any]:
    """Return the machine, with the versions of what decodes."""
    found = machine(0.0)
    del found["sgemm_gflops"]
    own = {
        name: version(name) for name in ("pillow", "simplejpeg") if importlib.util.find_spec(_MODULES[name])
    }
    return found | {"decoders": {**own, "Pillow's libjpeg-turbo": features.version("libjpeg_turbo")}}


def _encoded(data: bytes, size: tuple[int, int] | None) -> bytes:
    """Return a photograph at a size, or as it is."""
    if size is None:
        return data
    stream = BytesIO()
    picture = Image.open(BytesIO(data)).convert("RGB").resize(size, Image.Resampling.BICUBIC)
    picture.save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue()


def _torchvision(data: bytes) -> Image.Image:
    pixels = decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8), mode=ImageReadMode.RGB)
    # (c, h, w) -> (h, w, c), which is how it has been decoded: no copy
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())


def _simplejpeg(data: bytes) -> Image.Image:
    import simplejpeg

    return Image.fromarray(simplejpeg.decode_jpeg(data, "RGB"))


def _draft(data: bytes) -> Image.Image:
    image = Image.open(BytesIO(data))
    # The smallest picture that is not smaller than the resized one.
    scale = RESIZE / min(image.size)
    image.draft("RGB", (round(image.width * scale), round(image.height * scale)))
    return decode_unnamed(image)  # type: ignore[return-value]


def _each(
    call: Callable[[bytes], object],
    encoded: Sequence[bytes],
    memory: Callable[[], AbstractContextManager[None]],
) -> None:
    with memory():
        for data in encoded:
            call(data)


def _input(read: Callable[[bytes], Image.Image], preprocessing: Preprocessing, data: bytes) -> object:
    return preprocessing.tensor(read(data))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, help="photographs")
    parser.add_argument("--rounds", type=int, help="how often each reader goes through them")
    parser.add_argument("--quick", action="store_true", help="few pictures, one round")
    options = parser.parse_args()
    write_results("decoding", run(settings_from(options, Settings(), QUICK)))


if __name__ == "__main__":
    main()
