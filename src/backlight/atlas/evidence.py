"""Evidence: what a study found out about the projections of an atlas, kept in its file and shown with its pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from backlight.atlas import checks
from backlight.atlas.checksums import place
from backlight.atlas.damage import reading
from backlight.atlas.file import AtlasFile
from backlight.atlas.records import Evidence
from backlight.atlas.schema import writing
from backlight.errors import UnknownLayerError

_WHOLE_LAYER = -1
_TABLES = (  # for atlases of format 1: they got these tables with their first study
    "CREATE TABLE IF NOT EXISTS evidence (layer_id INTEGER NOT NULL, channel INTEGER NOT NULL, found TEXT NOT NULL, "
    "PRIMARY KEY (layer_id, channel)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS study (layer_id INTEGER PRIMARY KEY, result BLOB NOT NULL)",
)


def keep_evidence(
    path: Path, layer: str, whole: Evidence, maps: Mapping[int, Evidence], result: bytes = b""
) -> None:
    """Keep the evidence for a layer in an atlas, instead of any that it had.

    Args:
        path: The atlas.
        layer: The layer's name.
        whole: The evidence for the layer.
        maps: That for its feature maps, by channel.
        result: The study's whole result, for `read_study`.

    Raises:
        AtlasError: The file is not an atlas.
        UnknownLayerError: The atlas has no such layer.
        StorageError: It cannot be written.
    """
    with writing(path) as connection:
        ids = {name: layer_id for layer_id, name in connection.execute("SELECT layer_id, name FROM layer")}
        if layer not in ids:
            raise UnknownLayerError(f"{path.name} has no layer {layer!r}; it has {', '.join(ids)}")
        rows = [
            (ids[layer], channel, json.dumps(asdict(own), allow_nan=False))
            for channel, own in {_WHOLE_LAYER: whole, **maps}.items()
        ]
        for table in _TABLES:
            connection.execute(table)
        connection.execute("DELETE FROM evidence WHERE layer_id = ?", (ids[layer],))
        connection.executemany("INSERT INTO evidence VALUES (?, ?, ?)", rows)
        connection.execute("INSERT OR REPLACE INTO study VALUES (?, ?)", (ids[layer], result))


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


def read_evidence(file: AtlasFile, layer_id: int) -> tuple[Evidence | None, dict[int, Evidence]]:
    """Return the evidence of a layer and of its feature maps, if there is any."""
    if not file.has_studies:
        return None, {}
    (rows,) = file.group("evidence", layer_id)
    with reading(file.path, place("evidence", (layer_id,))):
        found = {
            checks.whole(channel, "channel", _WHOLE_LAYER): parse_evidence(text) for channel, text in rows
        }
    return found.pop(_WHOLE_LAYER, None), found


def read_study(file: AtlasFile, layer_id: int) -> bytes | None:
    """Return the whole result of the study of a layer; None before there is one."""
    (rows,) = file.group("study", layer_id) if file.has_studies else [[]]
    with reading(file.path, place("study", (layer_id,))):
        return checks.npz(rows[0][0]) if rows and rows[0][0] != b"" else None
