"""Sets read from a store that lies: each image is the right one, or is skipped with the store's fault as the reason.

`python tests/fuzz/stores.py 500 0` runs so many sets from a seed, and prints the counts.
"""

from __future__ import annotations

import io
import pickle
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
from PIL import Image

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from backlight.errors import BadInputError
from backlight.images import Preprocessing, load_batches, open_images, stores
from images.lying import LyingFileSystem

N_IMAGES = 40
_PREPROCESSING = Preprocessing(None, (6, 9), (0.0,) * 3, (1.0,) * 3)


@dataclass
class Counts:
    """What became of the sets and of their images.

    Attributes:
        opened: Sets that could be opened.
        refused: Sets that could not be opened, which one line said.
        right: Images that are the right ones.
        skipped: Images that were withheld or spoilt every time, with their reason.
        wrong: Images that are other ones, or were skipped without a fault.
        n_answers: What the store was asked for.
    """

    opened: int = 0
    refused: int = 0
    right: int = 0
    skipped: int = 0
    wrong: int = 0
    n_answers: int = 0

    def __str__(self) -> str:
        """Return the counts in one line."""
        return (
            f"{self.opened} sets opened, {self.refused} refused; of their images {self.right} right, {self.skipped} "
            f"skipped, {self.wrong} wrong; {self.n_answers} answers"
        )


def run(count: int, seed: int) -> Counts:
    """Return what becomes of so many sets: folders, lists, shards and Parquet files in turn.

    Of the answers, up to a half are late, refused, short, too long or empty, drawn anew for each set; of some images
    all answers are of the right length and hold other bytes. Nobody waits between attempts.
    """
    counts, before = Counts(), (stores.FIRST_WAIT_S, stores.LONGEST_WAIT_S)
    store = fsspec.filesystem(LyingFileSystem.protocol)
    stores.FIRST_WAIT_S = stores.LONGEST_WAIT_S = 0.0
    try:
        for case in range(count):
            _one(counts, store, np.random.default_rng((seed, case)), case)
    finally:
        stores.FIRST_WAIT_S, stores.LONGEST_WAIT_S = before
        store.start_over()
        store.store.clear()
    return counts


def _one(counts: Counts, store: LyingFileSystem, rng: np.random.Generator, case: int) -> None:
    store.start_over()
    store.store.clear()
    store.pseudo_dirs[:] = [""]
    address, spoilt = _written(store, rng, case % 4)
    store.share, store.seed = float(rng.choice([0.1, 0.3, 0.5])), case
    store.faults = {path: ["always garbage"] for path in spoilt}
    try:
        source = pickle.loads(pickle.dumps(open_images(address)))
        source.fingerprint()
    except BadInputError as error:
        counts.refused += 1
        counts.wrong += "\n" in str(error) or "attempts" not in str(error)
    else:
        counts.opened += 1
        for batch in load_batches(source, _PREPROCESSING, range(len(source)), batch_size=8, workers=3):
            # the level of each picture is its number
            levels = (batch.tensor[:, 0, 0, 0] * 255).round().int().tolist()
            right = [level == image_id for level, image_id in zip(levels, batch.ids, strict=True)]
            counts.right += sum(right)
            counts.wrong += len(right) - sum(right)
            for own in batch.skipped:
                is_told = own.reason.endswith("attempts)") or f"/d/{own.path}" in spoilt
                counts.skipped += is_told
                counts.wrong += not is_told
    counts.n_answers += len(store.requests)


def _written(store: LyingFileSystem, rng: np.random.Generator, kind: int) -> tuple[str, list[str]]:
    """Write a set to the store; return its address, and the paths of images whose bytes will be others."""
    pictures = [_picture(i, rng) for i in range(N_IMAGES)]
    names = [f"{i:02}.png" for i in range(N_IMAGES)]
    if kind in (0, 1):
        for name, data in zip(names, pictures, strict=True):
            store.pipe(f"/d/{name}", data)
        store.pipe("/list.txt", "\n".join(f"d/{name}" for name in names).encode())
        spoilt = [f"/d/{names[i]}" for i in rng.choice(N_IMAGES, 2)]
        return ("lying://d" if kind == 0 else "lying://list.txt"), (spoilt if kind == 0 else [])
    if kind == 2:
        half = N_IMAGES // 2
        for shard, own in enumerate((slice(half), slice(half, None))):
            store.pipe(f"/s-{shard}.tar", _shard(names[own], pictures[own]))
        return "lying://s-{0..1}.tar", []
    store.pipe("/a.parquet", _parquet(pictures))
    return "lying://a.parquet", []


def _picture(level: int, rng: np.random.Generator) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (9, 6), (level,) * 3).save(stream, "PNG")
    return stream.getvalue() + rng.bytes(int(rng.integers(2000)))


def _shard(names: list[str], pictures: list[bytes]) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, data in zip(names, pictures, strict=True):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return archive.getvalue()


def _parquet(pictures: list[bytes]) -> bytes:
    import pyarrow
    from pyarrow import parquet

    stream: Any = io.BytesIO()
    parquet.write_table(pyarrow.table({"image": pictures}), stream, row_group_size=7)
    return bytes(stream.getvalue())


if __name__ == "__main__":
    found = run(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    print(f"a store that lies: {found}")
    sys.exit(bool(found.wrong))
