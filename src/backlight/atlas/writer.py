"""Writing an atlas, a step at a time."""

from __future__ import annotations

import io
import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.atlas import checks, checksums
from backlight.atlas.damage import reading
from backlight.atlas.evidence import keep_stability
from backlight.atlas.opening import storage_errors
from backlight.atlas.rows import (
    INSERT_HIT,
    PARTS,
    band_rows,
    candidate_row,
    field_rows,
    hit_rows,
    layer_rows,
    map_rows,
    meta_rows,
)
from backlight.atlas.schema import (
    connect_for_writing,
    has_bands,
    has_certainty,
    has_checksums,
    has_map_filters,
    transaction,
)
from backlight.engines.identity import AtlasIdentity
from backlight.engines.plan import Plan, Settings
from backlight.engines.work import FinishedLight, FinishedTile, Partial, PendingHit
from backlight.errors import AtlasError, StorageError
from backlight.scan import Scan
from backlight.storage.arrays import BROKEN, packed, read_npz

_PROJECTED = {"project": ("hit", "rank"), "band": ("band", "bin")}
"""What each phase of projecting works on: the table, and the column that tells the rows of a map apart."""
MOST_FILTER_BYTES = 2**25
"""Of a layer; larger are those of fully connected layers of thousands of maps, all of which are shown."""


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
        plan: The plan, with the settings that the atlas was begun with, and with everything that was ever asked for.

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
            self.plan = self._with_parts(plan.with_settings(self._kept_settings()))
        except BaseException:
            self.close()
            raise

    def _begin(self) -> None:
        """Keep what is built, and how: what can decide the last bit of a value stays the same in a resume."""
        with self._step() as connection:
            self._check_phase(None)
            connection.executemany("INSERT INTO meta VALUES (?, ?)", meta_rows(self.plan))
            connection.executemany("INSERT INTO layer VALUES (?, ?, ?)", layer_rows(self.plan))
            if has_bands(connection):
                fields = "INSERT INTO field VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
                connection.executemany(fields, field_rows(self.plan))

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

    def _with_parts(self, plan: Plan) -> Plan:
        """Return the plan with the parts that the atlas was begun with; parts that are new are kept, and begun."""
        if not has_bands(self._connection):
            if plan.bands:
                raise AtlasError(
                    f"{str(self.path)!r} was begun by an earlier version, whose atlases have no examples of bands; "
                    "it was not changed: leave them out, or choose another name"
                )
            return replace(plan, bands=False, wholes=False)
        kept = {name: bool(self._meta(name)) for name in PARTS}
        added = [name for name, is_kept in kept.items() if getattr(plan, name) and not is_kept]
        if added:
            with self._step() as connection:
                connection.executemany(
                    "UPDATE meta SET value = 'true' WHERE key = ?", [(name,) for name in added]
                )
                if self.phase in ("light", "done"):
                    self._set_phase(connection, "band" if "bands" in added else "light")
        bands, wholes = (is_kept or name in added for name, is_kept in kept.items())
        return replace(plan, bands=bands, wholes=wholes)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def write_filters(
        self, layer_index: int, weights: NDArray[np.float32], n_groups: int, are_pictures: bool
    ) -> None:
        """Keep the filters (n, c, kh, kw) of a layer: those of the maps that are shown, and all that are pictures."""
        shown = weights[list(self.plan.channels[layer_index])]
        with self._step() as connection:
            self._check_phase("project")
            if are_pictures:
                connection.execute(
                    "INSERT OR REPLACE INTO filters VALUES (?, ?)", (layer_index, _npy(weights))
                )
            if has_map_filters(connection) and shown.nbytes <= MOST_FILTER_BYTES:
                connection.execute(
                    "INSERT OR REPLACE INTO map_filters VALUES (?, ?, ?)",
                    (layer_index, n_groups, _npy(shown)),
                )

    @property
    def phase(self) -> str:
        """What is to be done next: `scan`, `certify`, `project`, `band`, `light` or `done`."""
        return str(self._meta("phase"))

    def load_scan(self) -> tuple[Scan, int]:
        """Return the scan as far as it has got, and the number of images done, bad ones included."""
        rows = self._rows("SELECT n_done, arrays FROM scan_state")
        if not rows:
            return Scan.empty(self.plan.layers, self.plan.n_candidates), 0
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
        state = packed(scan.to_arrays())
        records = self.plan.images.records
        with self._step() as connection:
            self._check_phase("scan")
            connection.execute(
                "INSERT OR REPLACE INTO meta VALUES ('compiled', ?)", (json.dumps(partial.is_compiled),)
            )
            connection.execute("INSERT OR REPLACE INTO scan_state VALUES (0, ?, ?)", (n_done, state))
            connection.executemany(
                "INSERT OR REPLACE INTO image VALUES (?, ?, ?, ?, ?)",
                [(i, records[i].path, records[i].label, *size) for i, size in partial.sizes.items()],
            )
            connection.executemany(
                "INSERT OR REPLACE INTO skipped VALUES (?, ?, ?)",
                [(s.id, s.path, s.reason) for s in partial.scan.skipped],
            )

    def finish_scan(self, scan: Scan) -> None:
        """Keep what was found of every feature map, and of the chosen ones the candidates for hits; begin to certify.

        The state of the scan stays, for feature maps that are added later (`backlight.atlas.growing`).

        In an atlas of an earlier format the hits are those that the scan found, and the projections begin.
        """
        with self._step() as connection:
            self._check_phase("scan")
            for i, (layer, channels) in enumerate(zip(self.plan.layers, self.plan.channels, strict=True)):
                result = scan.layers[layer.name]
                connection.executemany(
                    "INSERT INTO feature_map VALUES (?, ?, ?, ?, ?, ?)", map_rows(i, result)
                )
                if not has_certainty(connection):
                    connection.executemany(INSERT_HIT, hit_rows(i, result, channels, self.plan.top))
                if has_bands(connection):
                    connection.executemany(
                        "INSERT INTO band (layer_id, channel, bin, value, image_id, row, col) "
                        "VALUES (?, ?, ?, ?, ?, ?, ?)",
                        band_rows(i, result, channels),
                    )
                stability = result.halves.stability(self.plan.top)
                if stability is not None:
                    keep_stability(connection, i, *stability)
            if has_certainty(connection):
                connection.execute("INSERT INTO certify_state VALUES (?, ?)", candidate_row(self.plan, scan))
            self._set_phase(connection, "certify" if has_certainty(connection) else "project")

    def pending(self, layer_index: int, phase: str = "project") -> list[PendingHit]:
        """Return what a phase projects of a layer, finished or not, in order; the build works in fixed batches.

        Args:
            layer_index: The layer.
            phase: `project` for its hits, `band` for the examples of its bands, whose rank is their bin.
        """
        table, rank = _PROJECTED[phase]
        rows = self._rows(
            f"SELECT layer_id, channel, {rank}, image_id, row, col FROM {table} WHERE layer_id = ? "
            f"ORDER BY channel, {rank}",
            layer_index,
        )
        return [PendingHit(*row) for row in rows]

    def finished(self, layer_index: int, phase: str = "project") -> set[tuple[int, int]]:
        """Return channel and rank of what a phase has projected of a layer."""
        table, rank = _PROJECTED[phase]
        query = f"SELECT channel, {rank} FROM {table} WHERE layer_id = ? AND projection IS NOT NULL"
        return set(self._rows(query, layer_index))

    def write_tiles(self, tiles: Sequence[FinishedTile], phase: str = "project") -> None:
        """Keep the tiles of some hits, or of some examples of bands."""
        table, rank = _PROJECTED[phase]
        with self._step() as connection:
            self._check_phase(phase)
            connection.executemany(
                f"UPDATE {table} SET patch = ?, projection = ?, scale = ? "
                f"WHERE layer_id = ? AND channel = ? AND {rank} = ?",
                [
                    (t.patch, t.projection, t.scale, t.hit.layer_index, t.hit.channel, t.hit.rank)
                    for t in tiles
                ],
            )

    def to_light(self) -> tuple[list[PendingHit], list[int]]:
        """Return all hits, and the images of all examples of bands that were projected."""
        hits = [hit for i in range(len(self.plan.layers)) for hit in self.pending(i)]
        rows = self._rows("SELECT DISTINCT image_id FROM band WHERE projection IS NOT NULL")
        return hits, [image_id for (image_id,) in rows]

    def lit(self) -> set[int]:
        """Return the images that are kept whole."""
        return {image_id for (image_id,) in self._rows("SELECT image_id FROM picture")}

    def write_light(self, found: FinishedLight) -> None:
        """Keep some images whole, and the activations of their hits."""
        with self._step() as connection:
            self._check_phase("light")
            connection.executemany("INSERT INTO picture VALUES (?, ?)", found.pictures.items())
            connection.executemany(
                "INSERT INTO activation VALUES (?, ?, ?, ?)",
                [(hit.layer_index, hit.channel, hit.rank, codes) for hit, codes in found.activations],
            )

    def finish(self, phase: str) -> None:
        """Mark a phase that follows the scan as finished; the next one of the plan begins."""
        phases = ["project", *["band"] * self.plan.bands, *["light"] * self.plan.wholes, "done"]
        with self._step() as connection:
            self._check_phase(phase)
            self._set_phase(connection, phases[phases.index(phase) + 1])

    @contextmanager
    def step(self, phase: str, then: str | None = None) -> Iterator[sqlite3.Connection]:
        """Run a step of a phase, all of which is in the file afterwards, or nothing; `then` is the next phase."""
        with self._step() as connection:
            self._check_phase(phase)
            yield connection
            if then is not None:
                self._set_phase(connection, then)

    def rows(self, query: str) -> list[Any]:
        """Return the rows of a query."""
        return self._rows(query)

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


def _npy(array: NDArray[np.float32]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()
