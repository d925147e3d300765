"""The ledger of a scan: what is found in each shard of the images, as small files that many processes write.

A shard's file is there or it is not: what is missing is what is still to be done, by whoever comes next. Files of
neighbouring shards are merged into one, as many at a time as there are processes. Hits are in a total order and all
sums are exact, so that neither the order of the work nor that of the merges shows in a bit of the result.

*Convention*: a file is named by the scan (a hash of the weights, the preprocessing, the images, the layers and the
number of hits) and by its images, so that a ledger may hold any number of scans, and files of shards of any size.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.engines.plan import Plan, Shard
from backlight.engines.work import Partial, merge
from backlight.errors import BacklightWarning, StorageError, first_line, tell
from backlight.images.skipped import Skipped
from backlight.scan import Scan
from backlight.storage.addresses import Folder
from backlight.storage.arrays import BROKEN, checksum, packed, read_npz

FANOUT = 16
"""Files that are read together; stations merge them into one where there are as many stations."""
_FORMAT = 1
_THIN = "histogram"


@dataclass(frozen=True)
class Ledger:
    """The files of one scan; can be pickled.

    Attributes:
        folder: Where they are.
        key: The hash of the scan, 64 hexadecimal digits.
        layers: The names of its layers.
    """

    folder: Folder
    key: str
    layers: tuple[str, ...]

    def shards(self) -> list[Shard]:
        """Return what files there are, each with the images of one shard or more, in their order."""
        pattern = re.compile(rf"{self.key[:16]}-(\d+)-(\d+)\.npz")
        found = (pattern.fullmatch(name) for name in self.folder.names())
        shards = (Shard(int(own[1]), int(own[2])) for own in found if own)
        # The longest of those that start alike comes first: it holds the others.
        return sorted(shards, key=lambda own: (own.start, -own.stop))

    def row(self, wanted: Shard, step: int) -> list[tuple[Shard, bool]]:
        """Return images in an unbroken row of pieces, and of each whether there is a file of just its images.

        Where there is none, pieces have at most `step` images. Files of an earlier run may be of any size.
        """
        row: list[tuple[Shard, bool]] = []
        at = wanted.start
        for shard in self.shards():
            if shard.start >= at and shard.stop <= wanted.stop:
                row += [(gap, False) for gap in _cut(at, shard.start, step)]
                row.append((shard, True))
                at = shard.stop
        return row + [(gap, False) for gap in _cut(at, wanted.stop, step)]

    def read(self, shard: Shard) -> Partial | None:
        """Return what a file holds; None where it is damaged: it is removed then, and a warning says so.

        Raises:
            StorageError: It cannot be read, or is not there.
        """
        name = self._name(shard)
        try:
            data = self.folder.read(name)
        except FileNotFoundError as error:
            gone = f"{name!r} is gone from the ledger {self.folder.address!r}; run the same again"
            raise StorageError(gone) from error
        try:
            return self._decoded(shard, data)
        except BROKEN as error:
            self.folder.remove([name])
            tell(
                BacklightWarning(
                    f"{name!r} in the ledger {self.folder.address!r} was damaged ({first_line(error)}) and is removed; "
                    "its images are scanned again"
                )
            )
            return None

    def write(self, partial: Partial) -> None:
        """Write the file of some images, whole or not at all.

        Raises:
            StorageError: It cannot be written.
        """
        arrays = _thinned(partial.scan.to_arrays())
        sizes = [(i, *size) for i, size in sorted(partial.sizes.items())]
        arrays["sizes"] = np.array(sizes, np.int64).reshape(-1, 3)
        facts: dict[str, Any] = {
            "format": _FORMAT,
            "key": self.key,
            "start": partial.shard.start,
            "stop": partial.shard.stop,
            "is_compiled": partial.is_compiled,
            "skipped": [(own.id, own.path, own.reason) for own in partial.scan.skipped],
        }
        text = json.dumps(facts | {"sha256": checksum(facts, arrays)})
        self.folder.write(self._name(partial.shard), packed({**arrays, "facts": np.array(text)}))

    def merge(self, shards: Sequence[Shard]) -> Shard | None:
        """Merge the files of shards that follow each other into one, remove those, and return what it holds.

        None where one of them turned out to be damaged.
        """
        parts = [self.read(shard) for shard in shards]
        whole = [part for part in parts if part is not None]
        if len(whole) < len(parts):
            return None
        merged = reduce(merge, whole)
        if len(parts) > 1:
            self.write(merged)
            self.folder.remove([self._name(shard) for shard in shards])
        return merged.shard

    def discard(self, shard: Shard) -> None:
        """Remove the file of a shard."""
        self.folder.remove([self._name(shard)])

    def clear(self) -> None:
        """Remove all files of the scan, and the folder if nothing else is in it."""
        # Also the parts of files that killed processes were writing (`storage.writing`).
        mine = re.compile(rf"\.?{self.key[:16]}-\d+-\d+\.npz(\.[0-9a-f]{{8}}\.new\.npz)?")
        self.folder.remove([name for name in self.folder.names() if mine.fullmatch(name)])
        self.folder.remove_if_empty()

    def _name(self, shard: Shard) -> str:
        return f"{self.key[:16]}-{shard.start:010d}-{shard.stop:010d}.npz"

    def _decoded(self, shard: Shard, data: bytes) -> Partial:
        arrays = read_npz(io.BytesIO(data))
        facts: dict[str, Any] = json.loads(str(arrays.pop("facts")))
        if facts.pop("sha256") != checksum(facts, arrays):
            raise ValueError("its checksum is another")
        if (facts["format"], facts["key"], facts["start"], facts["stop"]) != (
            _FORMAT,
            self.key,
            shard.start,
            shard.stop,
        ):
            raise ValueError("it is of another scan or of other images than its name says")
        sizes = {int(i): (int(height), int(width)) for i, height, width in arrays.pop("sizes")}
        scan = Scan.from_arrays(self.layers, _filled(arrays))
        scan.skipped = [Skipped(*own) for own in facts["skipped"]]
        return Partial(shard, scan, sizes, facts["is_compiled"])


def ledger_of(plan: Plan, address: Path | str) -> Ledger:
    """Return the ledger of a plan's scan at an address; reads all weights, once.

    Which feature maps are projected by which rules makes no difference: plans that differ in these share their scan.
    """
    model, images = plan.identity.model, plan.identity.image_set
    facts = [
        _FORMAT,
        (model.fingerprint, model.input_shape),
        plan.preprocessing.to_dict(),
        (images.fingerprint, images.n_images),
        [layer.name for layer in plan.layers],
        plan.n_candidates,
    ]
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return Ledger(Folder(address), key, tuple(layer.name for layer in plan.layers))


def _cut(start: int, stop: int, step: int) -> list[Shard]:
    return [Shard(i, min(i + step, stop)) for i in range(start, stop, step)]


def _thinned(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return arrays with their histograms, most of whose bins are empty after a shard, as places and counts."""
    found: dict[str, NDArray[Any]] = {}
    for name, array in arrays.items():
        if name.endswith(_THIN):
            at = np.flatnonzero(array)
            found[f"{name} at"], found[f"{name} counts"] = at.astype(np.int32), array.reshape(-1)[at]
            found[f"{name} shape"] = np.array(array.shape)
        else:
            found[name] = array
    return found


def _filled(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the arrays that `_thinned` was given."""
    found = {name: array for name, array in arrays.items() if _THIN not in name}
    for name in [own.removesuffix(" at") for own in arrays if own.endswith(f"{_THIN} at")]:
        whole = np.zeros(tuple(arrays[f"{name} shape"]), np.int64)
        whole.reshape(-1)[arrays[f"{name} at"]] = arrays[f"{name} counts"]
        found[name] = whole
    return found
