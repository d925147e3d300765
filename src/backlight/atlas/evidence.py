"""Evidence: what a study found out about the projections of an atlas, kept in its file and shown with its pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from backlight.atlas.schema import connect_for_writing, transaction
from backlight.errors import UnknownLayerError

_WHOLE_LAYER = -1
_TABLE = """
CREATE TABLE IF NOT EXISTS evidence (
    layer_id INTEGER NOT NULL, channel INTEGER NOT NULL, found TEXT NOT NULL,
    PRIMARY KEY (layer_id, channel)) WITHOUT ROWID
"""


@dataclass(frozen=True)
class Evidence:
    """Whether covering what the projections show makes the activation fall, for a feature map or a layer.

    Attributes:
        falls: Mean share of the activation that is lost, by what chose the covered pixels: the atlas's rule set first,
            then the other rule sets and the controls. None where a control is missing.
        verdict: In words.
        is_strong: Whether the projection is better than every control.
        best_rules: The rule set with the best evidence.
        n: Number of hits of the map, or of maps of the layer.
    """

    falls: dict[str, float | None]
    verdict: str
    is_strong: bool
    best_rules: str
    n: int

    @property
    def text(self) -> str:
        """The evidence in a few words, for captions."""
        name, *_ = self.falls
        parts = [
            f"{key} {self.falls[key]:.0%}" for key in ("centre", "random") if self.falls.get(key) is not None
        ]
        own = self.falls[name]
        lost = "" if own is None else f"{own:.0%} lost when covered ({', '.join(parts)}): "
        return f"{lost}{self.verdict}"


def keep_evidence(path: Path, found: Mapping[str, tuple[Evidence, Mapping[int, Evidence]]]) -> None:
    """Keep evidence in an atlas, in the place of what it had for the same layers.

    Args:
        path: The atlas.
        found: For each layer its evidence, and that of its feature maps by channel.

    Raises:
        AtlasError: The file is no atlas.
        UnknownLayerError: The atlas has no such layer.
        StorageError: It cannot be written.
    """
    connection = connect_for_writing(path)
    try:
        ids = {name: layer_id for layer_id, name in connection.execute("SELECT layer_id, name FROM layer")}
        unknown = [name for name in found if name not in ids]
        if unknown:
            raise UnknownLayerError(f"{path.name} has no layer {unknown[0]!r}; it has {', '.join(ids)}")
        rows = []
        for name, (whole, maps) in found.items():
            for channel, own in {_WHOLE_LAYER: whole, **maps}.items():
                rows.append((ids[name], channel, json.dumps(asdict(own), allow_nan=False)))
        with transaction(connection, path):
            connection.execute(_TABLE)
            connection.executemany(
                "DELETE FROM evidence WHERE layer_id = ?", [(ids[name],) for name in found]
            )
            connection.executemany("INSERT INTO evidence VALUES (?, ?, ?)", rows)
    finally:
        connection.close()


def read_evidence(rows: Any, layer_id: int) -> tuple[Evidence | None, dict[int, Evidence]]:
    """Return the evidence of a layer and of its feature maps, as far as there is any.

    Args:
        rows: Runs a query (`Atlas.rows`).
        layer_id: The layer.
    """
    if not rows("SELECT 1 FROM sqlite_master WHERE name = 'evidence'"):
        return None, {}
    found = {
        channel: Evidence(**json.loads(text))
        for channel, text in rows("SELECT channel, found FROM evidence WHERE layer_id = ?", layer_id)
    }
    return found.pop(_WHOLE_LAYER, None), found
