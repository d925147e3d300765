"""Evidence: what is known of how far the pictures of an atlas can be trusted, kept in its file and shown with them.

A study finds it out about the projections, the scan about the hits (their stability).
"""

from __future__ import annotations

import io
import json
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from backlight.atlas import checks
from backlight.atlas.checksums import place
from backlight.atlas.damage import reading
from backlight.atlas.file import AtlasFile
from backlight.atlas.findings import Evidence, Foretold, Stability
from backlight.atlas.schema import writing
from backlight.errors import UnknownLayerError
from backlight.scan.halves import MOST_RANKS
from backlight.storage.arrays import BROKEN, read_npz

_WHOLE_LAYER = -1
FAITHFULNESS, FORETELLING, _STABILITY = "faithfulness", "foretelling", "stability"
STUDIES: dict[type, str] = {Evidence: FAITHFULNESS, Foretold: FORETELLING}
"""The study that finds each kind of evidence."""
_Kind = TypeVar("_Kind", Evidence, Foretold)
_TABLES = (  # for atlases of format 1: they got these tables with their first study
    "CREATE TABLE IF NOT EXISTS evidence (layer_id INTEGER NOT NULL, channel INTEGER NOT NULL, found TEXT NOT NULL, "
    "PRIMARY KEY (layer_id, channel)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS study (layer_id INTEGER PRIMARY KEY, result BLOB NOT NULL)",
)


def keep_evidence(
    path: Path, layer: str, whole: _Kind, maps: Mapping[int, _Kind], result: bytes = b""
) -> None:
    """Keep what a study found of a layer in an atlas, instead of what it had of that study.

    Args:
        path: The atlas.
        layer: The layer's name.
        whole: The evidence for the layer: `Evidence` of faithfulness, or `Foretold`.
        maps: That for its feature maps, by channel.
        result: The study's whole result, for `read_studies`.

    Raises:
        AtlasError: The file is not an atlas.
        UnknownLayerError: The atlas has no such layer.
        StorageError: It cannot be written.
    """
    with writing(path) as connection:
        ids = {name: layer_id for layer_id, name in connection.execute("SELECT layer_id, name FROM layer")}
        if layer not in ids:
            raise UnknownLayerError(f"{path.name} has no layer {layer!r}; it has {', '.join(ids)}")
        own = ids[layer]
        _make_tables(connection)
        rows = _merged(connection, own, type(whole), {_WHOLE_LAYER: whole, **maps})
        kept = connection.execute("SELECT result FROM study WHERE layer_id = ?", (own,)).fetchone()
        results = {**(unpacked(kept[0]) if kept else {}), STUDIES[type(whole)]: result}
        connection.execute("DELETE FROM evidence WHERE layer_id = ?", (own,))
        connection.executemany("INSERT INTO evidence VALUES (?, ?, ?)", rows)
        connection.execute("INSERT OR REPLACE INTO study VALUES (?, ?)", (own, packed(results)))


def keep_stability(
    connection: sqlite3.Connection, layer_id: int, n: NDArray[np.int64], of: NDArray[np.int64]
) -> None:
    """Keep, as part of a step, how stable the hits of a layer's maps are, which have no evidence yet.

    Args:
        connection: Of the writer.
        layer_id: The layer.
        n: (c,) ranks that agree, for each map.
        of: (c,) ranks that were compared; maps without any are dead.
    """
    _make_tables(connection)
    found = [Stability(int(own), int(ranks)) for own, ranks in zip(n, of, strict=True)]
    connection.executemany(
        "INSERT INTO evidence VALUES (?, ?, ?)",
        [(layer_id, c, json.dumps({_STABILITY: asdict(own)})) for c, own in enumerate(found) if own.of],
    )


def _make_tables(connection: sqlite3.Connection) -> None:
    for table in _TABLES:
        connection.execute(table)


def _merged(
    connection: sqlite3.Connection, layer_id: int, kind: type[_Kind], fresh: Mapping[int, _Kind]
) -> list[tuple[int, int, str]]:
    """Return the rows of a layer: what other studies found stays, what this one found is replaced."""
    query = "SELECT channel, found FROM evidence WHERE layer_id = ?"
    rows: dict[int, dict[str, Any]] = {
        c: json.loads(found) for c, found in connection.execute(query, (layer_id,))
    }
    names = {field.name for field in fields(Evidence)} if kind is Evidence else {FORETELLING}
    rows = {channel: {k: v for k, v in row.items() if k not in names} for channel, row in rows.items()}
    for channel, own in fresh.items():
        found = asdict(own)
        rows.setdefault(channel, {}).update(found if kind is Evidence else {FORETELLING: found})
    return [(layer_id, c, json.dumps(row, allow_nan=False)) for c, row in rows.items() if row]


def packed(results: Mapping[str, bytes]) -> bytes:
    """Return the results of several studies as the bytes of one npz; that of faithfulness alone stays as it is."""
    kept = {name: data for name, data in results.items() if data}
    if set(kept) <= {FAITHFULNESS}:
        return kept.get(FAITHFULNESS, b"")
    buffer = io.BytesIO()
    np.savez(buffer, **{name: np.frombuffer(data, np.uint8) for name, data in kept.items()})  # type: ignore[arg-type]
    return buffer.getvalue()


def unpacked(data: bytes) -> dict[str, bytes]:
    """Return by study what `packed` packed; damaged bytes are taken for those of faithfulness, which refuses them."""
    try:
        arrays = read_npz(io.BytesIO(data)) if data else {}
    except BROKEN:
        arrays = {}
    if arrays and set(arrays) <= set(STUDIES.values()):
        return {name: own.tobytes() for name, own in arrays.items()}
    return {FAITHFULNESS: data} if data else {}


def parse_evidence(text: Any) -> Evidence:
    """Return the evidence in its JSON.

    Raises:
        ValueError: It holds something else.
        KeyError: It lacks something.
    """
    found = checks.table(json.loads(text), "evidence")
    falls = checks.table(found["falls"], "falls")
    if not falls:
        raise ValueError("falls must name the rule set, got none")
    return Evidence(
        {
            checks.name(key, "rule set"): None if value is None else checks.real(value, "fall")
            for key, value in falls.items()
        },
        checks.words(found["verdict"], "verdict"),
        checks.flag(found["is_strong"], "is_strong"),
        checks.name(found["best_rules"], "best_rules"),
        checks.whole(found["n"], "n"),
    )


def parse_foretelling(found: Any) -> Foretold:
    """Return the findings of the study of foretelling in their JSON.

    Raises:
        ValueError: They hold something else.
        KeyError: They lack something.
    """
    own = checks.table(found, FORETELLING)
    parts = []
    for key in ("correlations", "partial"):
        values = checks.table(own[key], key)
        if not values:
            raise ValueError(f"{key} must name the rule set, got none")
        parts.append(
            {
                checks.name(name, "rule set"): None if value is None else checks.real(value, key)
                for name, value in values.items()
            }
        )
    ends = own["interval"]
    if ends is not None and (not isinstance(ends, list) or len(ends) != 2):
        raise ValueError(f"interval must be two numbers, got {ends!r}")
    interval = None if ends is None else (checks.real(ends[0], "interval"), checks.real(ends[1], "interval"))
    return Foretold(parts[0], parts[1], interval, checks.whole(own["n"], "n"))


def parse_stability(found: Any) -> Stability:
    """Return the stability of a feature map's hits in its JSON.

    Raises:
        ValueError: It holds something else.
        KeyError: It lacks something.
    """
    own = checks.table(found, _STABILITY)
    of = checks.whole(own["of"], "ranks compared", 1, MOST_RANKS)
    return Stability(checks.whole(own["n"], "stable ranks", 0, of), of)


@dataclass(frozen=True)
class Found:
    """What was found of a layer or of a feature map; None where no study or scan looked for it."""

    evidence: Evidence | None = None
    foretelling: Foretold | None = None
    stability: Stability | None = None


def read_evidence(file: AtlasFile, layer_id: int) -> tuple[Found, dict[int, Found]]:
    """Return what was found of a layer and of its feature maps."""
    if not file.has_studies:
        return Found(), {}
    (rows,) = file.group("evidence", layer_id)
    with reading(file.path, place("evidence", (layer_id,))):
        found = {checks.whole(channel, "channel", _WHOLE_LAYER): _parse(text) for channel, text in rows}
    return found.pop(_WHOLE_LAYER, Found()), found


def _parse(text: Any) -> Found:
    row = checks.table(json.loads(text), "evidence")
    foretelling = parse_foretelling(row[FORETELLING]) if FORETELLING in row else None
    stability = parse_stability(row[_STABILITY]) if _STABILITY in row else None
    # A row of nothing, which nobody writes, is refused as evidence.
    is_without = row and set(row) <= {FORETELLING, _STABILITY}
    return Found(None if is_without else parse_evidence(text), foretelling, stability)


def read_studies(file: AtlasFile, layer_id: int) -> dict[str, bytes]:
    """Return the whole results of the studies of a layer, by study."""
    (rows,) = file.group("study", layer_id) if file.has_studies else [[]]
    with reading(file.path, place("study", (layer_id,))):
        return unpacked(checks.npz(rows[0][0])) if rows and rows[0][0] != b"" else {}
