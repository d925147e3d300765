"""Writing an atlas, a step at a time."""

from __future__ import annotations

import io
import json
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from backlight.atlas import checksums
from backlight.atlas.damage import reading
from backlight.atlas.opening import storage_errors
from backlight.atlas.schema import connect_for_writing, has_checksums, transaction
from backlight.engines.plan import Plan, check_identity, layer_to_json
from backlight.errors import AtlasError, StorageError
from backlight.images import Batch, ImageSource, Skipped
from backlight.scan import LayerScan, Scan
from backlight.storage.arrays import BROKEN, read_npz


@dataclass(frozen=True)
class PendingHit:
    """A hit whose tile is still to be made."""

    layer_index: int
    channel: int
    rank: int
    image_id: int
    row: int | None
    col: int | None


@dataclass(frozen=True)
class FinishedTile:
    """A hit's tile: the patch, and the projection's codes with their scale."""

    hit: PendingHit
    patch: bytes
    projection: bytes
    scale: float


class AtlasWriter:
    """Writes one atlas; every method that writes is one committed step.

    Args:
        path: The file; created if missing.
        plan: What the build will do.
        asked: The identity of the build; an atlas begun with another is refused.

    Attributes:
        batch_size: Images that are read and projected together, as the atlas was begun.
        threads: torch's number of threads, as the atlas was begun; an older atlas takes today's.

    Raises:
        AtlasError: The file is no atlas, or one of something else.
        StorageError: The file cannot be written, or another run is writing it.
    """

    def __init__(self, path: Path, plan: Plan, asked: dict[str, Any]) -> None:
        self.path, self.plan = path, plan
        self._connection = connect_for_writing(path)
        try:
            if self._meta("identity") is None:
                self._begin(asked)
            check_identity(str(path), self._meta("identity"), asked)
            self._check_numbers()
        except BaseException:
            self.close()
            raise
        self.batch_size = int(self._meta("batch_size"))
        self.threads = int(self._meta("threads") or torch.get_num_threads())

    def _begin(self, asked: dict[str, Any]) -> None:
        """Keep what is built, and how: what can decide the last bit of a value stays the same in a resume."""
        with self._step() as connection:
            self._check_phase(None)
            connection.executemany(
                "INSERT INTO meta VALUES (?, ?)",
                [
                    ("identity", json.dumps(asked)),
                    ("batch_size", json.dumps(self.plan.batch_size)),
                    ("threads", json.dumps(torch.get_num_threads())),
                    ("phase", '"scan"'),
                ],
            )
            connection.executemany(
                "INSERT INTO layer VALUES (?, ?, ?)",
                [(i, layer.name, layer_to_json(layer)) for i, layer in enumerate(self.plan.layers)],
            )

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def write_filters(self, layer_index: int, weights: NDArray[np.float32]) -> None:
        """Keep the filters (n, c, k, k) of a layer that reads the pixels directly."""
        buffer = io.BytesIO()
        np.save(buffer, weights)
        with self._step() as connection:
            self._check_phase("project")
            connection.execute(
                "INSERT OR REPLACE INTO filters VALUES (?, ?)", (layer_index, buffer.getvalue())
            )

    @property
    def compiled(self) -> bool | None:
        """Whether the scan runs compiled; None before it has begun."""
        value = self._meta("compiled")
        return None if value is None else bool(value)

    def keep_compiled(self, compiled: bool) -> None:
        """Keep whether the scan runs compiled, since that can decide the last bit of a value."""
        with self._step() as connection:
            self._check_phase("scan")
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('compiled', ?)", (json.dumps(compiled),))

    @property
    def phase(self) -> str:
        """What is to be done next: `scan`, `project` or `done`."""
        return str(self._meta("phase"))

    def load_scan(self) -> tuple[Scan, int]:
        """Return the scan as far as it has got, and the number of images done, bad ones included."""
        rows = self._rows("SELECT n_done, arrays FROM scan_state")
        if not rows:
            return Scan.empty(self.plan.layers, self.plan.top), 0
        n_done, data = rows[0]
        try:
            state = Scan.from_arrays([layer.name for layer in self.plan.layers], read_npz(io.BytesIO(data)))
        except BROKEN as error:
            raise AtlasError(
                f"{str(self.path)!r} is damaged (the state of its scan cannot be read: {error}); "
                "build it anew under another name"
            ) from error
        state.skipped = [Skipped(*r) for r in self._rows("SELECT * FROM skipped ORDER BY image_id")]
        return state, int(n_done)

    def save_scan(self, scan: Scan, n_done: int, batches: Iterable[Batch], source: ImageSource) -> None:
        """Keep the scan after n_done images, and what is known of the images of the latest batches."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **scan.to_arrays())  # type: ignore[arg-type]
        with self._step() as connection:
            self._check_phase("scan")
            connection.execute(
                "INSERT OR REPLACE INTO scan_state VALUES (0, ?, ?)", (n_done, buffer.getvalue())
            )
            for batch in batches:
                records = [source.records[i] for i in batch.ids]
                connection.executemany(
                    "INSERT OR REPLACE INTO image VALUES (?, ?, ?, ?, ?)",
                    [(r.id, r.path, r.label, *size) for r, size in zip(records, batch.sizes, strict=True)],
                )
                connection.executemany(
                    "INSERT OR REPLACE INTO skipped VALUES (?, ?, ?)",
                    [(s.id, s.path, s.reason) for s in batch.skipped],
                )

    def finish_scan(self, scan: Scan) -> None:
        """Keep the statistics of every feature map and the hits of the chosen ones; begin the projections."""
        with self._step() as connection:
            self._check_phase("scan")
            for i, (layer, channels) in enumerate(zip(self.plan.layers, self.plan.channels, strict=True)):
                result = scan.layers[layer.name]
                connection.executemany(
                    "INSERT INTO feature_map VALUES (?, ?, ?, ?, ?, ?)", _map_rows(i, result)
                )
                connection.executemany(
                    "INSERT INTO hit (layer_id, channel, rank, value, image_id, row, col) VALUES (?, ?, ?, ?, ?, ?, ?)",
                    _hit_rows(i, result, channels),
                )
            connection.execute("DELETE FROM scan_state")
            self._set_phase(connection, "project")

    def pending(self, layer_index: int) -> list[PendingHit]:
        """Return a layer's hits, finished or not, in their order; the build works through them in fixed batches."""
        rows = self._rows(
            "SELECT layer_id, channel, rank, image_id, row, col FROM hit WHERE layer_id = ? ORDER BY channel, rank",
            layer_index,
        )
        return [PendingHit(*row) for row in rows]

    def finished(self, layer_index: int) -> set[tuple[int, int]]:
        """Return channel and rank of a layer's hits that have their tile."""
        return set(
            self._rows(
                "SELECT channel, rank FROM hit WHERE layer_id = ? AND projection IS NOT NULL", layer_index
            )
        )

    def write_tiles(self, tiles: Sequence[FinishedTile]) -> None:
        """Keep the tiles of some hits."""
        with self._step() as connection:
            self._check_phase("project")
            connection.executemany(
                "UPDATE hit SET patch = ?, projection = ?, scale = ? WHERE layer_id = ? AND channel = ? AND rank = ?",
                [
                    (t.patch, t.projection, t.scale, t.hit.layer_index, t.hit.channel, t.hit.rank)
                    for t in tiles
                ],
            )

    def finish(self) -> None:
        """Mark the atlas as complete."""
        with self._step() as connection:
            self._check_phase("project")
            self._set_phase(connection, "done")

    def _step(self) -> AbstractContextManager[sqlite3.Connection]:
        return transaction(self._connection, self.path)

    def _check_numbers(self) -> None:
        """Refuse to go on from damaged rows, whose checksums would be made anew with what is added to them."""
        if has_checksums(self._connection):
            with reading(self.path, "its checksums"):
                groups = checksums.written(self._connection)
            for kind, keys in groups:
                with reading(self.path, checksums.place(kind, keys)):
                    checksums.read_group(self._connection, kind, keys, check=True)

    def _check_phase(self, phase: str | None) -> None:
        """Raise StorageError, inside a step, unless the atlas is in a phase; None is before there is one.

        Where the file system has no locks, another build may have ended the phase meanwhile, and rows of it would be
        left over.
        """
        if self._meta("phase") != phase:
            raise StorageError(
                f"another process is building {str(self.path)!r} at the same time; let that one finish"
            )

    def _meta(self, key: str) -> Any:
        rows = self._rows("SELECT value FROM meta WHERE key = ?", key)
        return json.loads(rows[0][0]) if rows else None

    def _rows(self, query: str, *values: Any) -> list[Any]:
        with storage_errors(self.path):
            return self._connection.execute(query, values).fetchall()

    def _set_phase(self, connection: sqlite3.Connection, phase: str) -> None:
        connection.execute("UPDATE meta SET value = ? WHERE key = 'phase'", (json.dumps(phase),))


def _map_rows(layer_index: int, result: LayerScan) -> Iterable[tuple[Any, ...]]:
    statistics = result.statistics
    for channel, (mean, peak) in enumerate(zip(statistics.means, statistics.maxima, strict=True)):
        histogram = statistics.histogram[channel].astype("<i8").tobytes()
        yield layer_index, channel, float(mean), float(peak), int(statistics.n_active[channel]), histogram


def _hit_rows(layer_index: int, result: LayerScan, channels: Sequence[int]) -> Iterable[tuple[Any, ...]]:
    """Yield the hits in which the map is active: a unit at or below zero is no hit of a rectified map."""
    for channel in channels:
        hits = zip(
            result.hits.values[channel],
            result.hits.image_ids[channel],
            result.hits.places[channel],
            strict=True,
        )
        for rank, (value, image_id, (row, col)) in enumerate(hits):
            if image_id >= 0 and value > 0:
                place = (None, None) if row < 0 else (int(row), int(col))
                yield layer_index, channel, rank, float(value), int(image_id), *place
