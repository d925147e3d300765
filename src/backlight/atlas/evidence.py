"""Evidence: what a study found out about the projections of an atlas, kept in its file and shown with its pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backlight.atlas import checks
from backlight.atlas.checksums import place
from backlight.atlas.damage import reading
from backlight.atlas.schema import writing
from backlight.errors import BadInputError, UnknownLayerError
from backlight.operators.ruleset import RuleSet, parse_rules

if TYPE_CHECKING:
    from backlight.atlas.reader import Atlas

_WHOLE_LAYER = -1
_TABLES = (  # for atlases of format 1: they got these tables with their first study
    "CREATE TABLE IF NOT EXISTS evidence (layer_id INTEGER NOT NULL, channel INTEGER NOT NULL, found TEXT NOT NULL, "
    "PRIMARY KEY (layer_id, channel)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS study (layer_id INTEGER PRIMARY KEY, result BLOB NOT NULL)",
)


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


def keep_evidence(
    path: Path, layer: str, whole: Evidence, maps: Mapping[int, Evidence], result: bytes = b""
) -> None:
    """Keep the evidence for a layer in an atlas, in the place of what it had.

    Args:
        path: The atlas.
        layer: The layer's name.
        whole: The evidence for the layer.
        maps: That for its feature maps, by channel.
        result: The study's whole result, for `read_study`.

    Raises:
        AtlasError: The file is no atlas.
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


def best_rules(atlas: Atlas, fingerprint: str) -> dict[str, RuleSet]:
    """Return for each layer of an atlas that was studied the rule set with the best evidence.

    Args:
        atlas: An atlas with evidence.
        fingerprint: Of the network that the rules are for (`Network.fingerprint`).

    Raises:
        BadInputError: The atlas is of another network, or has no evidence.
    """
    if atlas.model["fingerprint"] != fingerprint:
        raise BadInputError(
            f"{atlas.path.name} is of another model or other weights; give evidence for this one"
        )
    found = {y.name: parse_rules(y.evidence.best_rules) for y in atlas.layers if y.evidence is not None}
    if not found:
        raise BadInputError(
            f"{atlas.path.name} has no evidence yet",
            python="run studies.faithfulness on it and keep its result",
            command=f"run `backlight faithfulness {atlas.path.name}`",
        )
    return found


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


def read_evidence(atlas: Atlas, layer_id: int) -> tuple[Evidence | None, dict[int, Evidence]]:
    """Return the evidence of a layer and of its feature maps, as far as there is any."""
    if not atlas.has_studies:
        return None, {}
    (rows,) = atlas.group("evidence", layer_id)
    with reading(atlas.path, place("evidence", (layer_id,))):
        found = {
            checks.whole(channel, "channel", _WHOLE_LAYER): parse_evidence(text) for channel, text in rows
        }
    return found.pop(_WHOLE_LAYER, None), found


def read_study(atlas: Atlas, layer_id: int) -> bytes | None:
    """Return the whole result of the study of a layer; None before there is one."""
    (rows,) = atlas.group("study", layer_id) if atlas.has_studies else [[]]
    with reading(atlas.path, place("study", (layer_id,))):
        return checks.npz(rows[0][0]) if rows and rows[0][0] != b"" else None
