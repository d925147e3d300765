"""Writing an atlas, a step at a time."""

from __future__ import annotations

import io
import json
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.atlas import checks, checksums
from backlight.atlas.damage import reading
from backlight.atlas.descriptions import LayerDescription
from backlight.atlas.evidence import keep_stability
from backlight.atlas.opening import storage_errors
from backlight.atlas.schema import connect_for_writing, has_checksums, transaction
from backlight.engines.identity import AtlasIdentity
from backlight.engines.plan import Plan, Settings
from backlight.engines.work import FinishedTile, Partial, PendingHit
from backlight.errors import AtlasError, StorageError
from backlight.network import Layer
from backlight.scan import LayerScan, Scan
from backlight.storage.arrays import BROKEN, read_npz


def check_identity(path: str, stored: AtlasIdentity, asked: AtlasIdentity) -> None:
    """Raise AtlasError unless the atlas was begun with the same model, weights, preprocessing, images and rules."""
    different = stored.differences(asked)
    if different:
        raise AtlasError(
            f"{path!r} was begun with another {' and another '.join(different)}; "
            "it was not changed: choose another name, or delete it to start over"
        )


class AtlasWriter:
    """Writes one atlas; every method that writes is one committed step.

    Args:
        path: The file; created if missing.
        plan: What the build will do; an atlas of another identity is refused.

    Attributes:
        path: The file.
        plan: The plan, with the settings that the atlas was begun with.

    Raises:
        AtlasError: The file is not an atlas, or is one of something else.
        StorageError: The file cannot be written, or another run is writing it.
    """

    def __init__(self, path: Path, plan: Plan) -> None:
        self.path, self.plan = path, plan
        self._connection = connect_for_writing(path)
        try:
            if self._text("identity") is None:
                self._begin()
            self._check_identity()
            self._check_numbers()
            self.plan = plan.with_settings(self._kept_settings())
        except BaseException:
            self.close()
            raise

    def _begin(self) -> None:
        """Keep what is built, and how: what can decide the last bit of a value stays the same in a resume."""
        settings = self.plan.settings
        with self._step() as connection:
            self._check_phase(None)
            connection.executemany(
                "INSERT INTO meta VALUES (?, ?)",
                [
                    ("identity", self.plan.identity.to_json()),
                    ("batch_size", json.dumps(settings.batch_size)),
                    ("threads", json.dumps(settings.threads)),
                    ("phase", '"scan"'),
                ],
            )
            connection.executemany(
                "INSERT INTO layer VALUES (?, ?, ?)",
                [(i, layer.name, _describe(layer).to_json()) for i, layer in enumerate(self.plan.layers)],
            )

    def _check_identity(self) -> None:
        with reading(self.path, f"{checksums.place('meta')} (identity)"):
            stored = checks.identity(self._text("identity"))
        # As it would be read back: lists and tuples, whole numbers and floats are one in JSON.
        asked = AtlasIdentity.from_dict(json.loads(self.plan.identity.to_json()))
        check_identity(str(self.path), stored, asked)

    def _kept_settings(self) -> Settings:
        """Return the settings that the atlas was begun with; what an older atlas does not know is as planned."""
        asked = self.plan.settings
        compiled = self._meta("compiled")
        return replace(
            asked,
            batch_size=int(self._meta("batch_size")),
            threads=int(self._meta("threads") or asked.threads),
            compiled=asked.compiled if compiled is None else bool(compiled),
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
                "build it again under another name"
            ) from error
        return state, int(n_done)

    def save_scan(self, scan: Scan, n_done: int, partial: Partial) -> None:
        """Keep the scan after n_done images, and what is known of the images of its latest shard."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **scan.to_arrays())  # type: ignore[arg-type]
        records = self.plan.images.records
        with self._step() as connection:
            self._check_phase("scan")
            connection.execute(
                "INSERT OR REPLACE INTO meta VALUES ('compiled', ?)", (json.dumps(partial.is_compiled),)
            )
            connection.execute(
                "INSERT OR REPLACE INTO scan_state VALUES (0, ?, ?)", (n_done, buffer.getvalue())
            )
            connection.executemany(
                "INSERT OR REPLACE INTO image VALUES (?, ?, ?, ?, ?)",
                [(i, records[i].path, records[i].label, *size) for i, size in partial.sizes.items()],
            )
            connection.executemany(
                "INSERT OR REPLACE INTO skipped VALUES (?, ?, ?)",
                [(s.id, s.path, s.reason) for s in partial.scan.skipped],
            )

    def finish_scan(self, scan: Scan) -> None:
        """Keep what was found of every feature map, and the hits of the chosen ones; begin the projections."""
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
                stability = result.halves.stability()
                if stability is not None:
                    keep_stability(connection, i, *stability)
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
        """Refuse to resume from damaged rows: what is added to them would give them new checksums."""
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

    def _text(self, key: str) -> Any:
        rows = self._rows("SELECT value FROM meta WHERE key = ?", key)
        return rows[0][0] if rows else None

    def _meta(self, key: str) -> Any:
        text = self._text(key)
        return None if text is None else json.loads(text)

    def _rows(self, query: str, *values: Any) -> list[Any]:
        with storage_errors(self.path):
            return self._connection.execute(query, values).fetchall()

    def _set_phase(self, connection: sqlite3.Connection, phase: str) -> None:
        connection.execute("UPDATE meta SET value = ? WHERE key = 'phase'", (json.dumps(phase),))


def _describe(layer: Layer) -> LayerDescription:
    return LayerDescription(layer.operator, layer.shape, layer.rectified, layer.receptive_field)


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
            # An id of -1 is an empty place; a row of -1 is a fully connected unit.
            if image_id >= 0 and value > 0:
                place = (None, None) if row < 0 else (int(row), int(col))
                yield layer_index, channel, rank, float(value), int(image_id), *place
