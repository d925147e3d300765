"""Files for the tests of atlases: what they are built with, what is in them, and how disks and kills leave them."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor, nn

import backlight
from backlight import Network, Preprocessing, capture
from backlight.atlas import Evidence, execute
from backlight.atlas.records import Hit
from backlight.atlas.schema import writing
from backlight.operators.ruleset import parse_rules
from conftest import captured_small_net

GATES_DIFFERENTIATED = parse_rules("deconvnet,gates=vjp")
EVIDENCE = Evidence({"guided": 0.5}, "as good", False, "guided", 1)


def make_network() -> Network:
    return captured_small_net(Preprocessing.default(3, 32))


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.squeeze, self.act = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.act(y * self.squeeze(y.mean((2, 3), keepdim=True)).sigmoid())


def gated_network() -> Network:
    torch.manual_seed(0)
    return capture(Gated().eval(), (3, 16, 16), Preprocessing.default(3, 16))


class _StoppedError(Exception):
    pass


def stop_build_in(path: Path, folder: Path, phase: str) -> None:
    """Begin a build, and stop it in a phase: in the scan after the first eight images."""

    def stop(now: str, done: int, total: int) -> None:
        if now == phase and (phase != "scan" or done > 8):
            raise _StoppedError

    asked = {"top": 4, "batch_size": 4, "maps": [0, 1], "bands": True, "shard_images": 8}
    with suppress(_StoppedError):
        execute(
            backlight.plan_build(make_network(), folder, ["relu1", "relu2"], **asked), path, progress=stop
        )


TABLES = (
    *("meta", "layer", "feature_map", "hit", "image", "skipped", "filters", "scan_state", "evidence"),
    *("field", "band", "picture", "activation", "map_filters", "certainty", "certify_state"),
    *("rule_set", "rule_layer", "rule_tile"),
)


def rows(path: Path, tables: Sequence[str] = TABLES) -> dict[str, list[tuple[object, ...]]]:
    connection = sqlite3.connect(path)
    content = {t: sorted(connection.execute(f"SELECT * FROM {t}").fetchall(), key=repr) for t in tables}
    connection.close()
    return content


_NEW_IN_FORMAT_3 = ("field", "band", "band_tile", "picture", "activation")


def make_earlier(path: Path, version: int) -> None:
    """Change an atlas, finished or not, to one that a version of Backlight wrote that knew format 1 to 5."""
    finished = "(SELECT value FROM meta WHERE key = 'phase') != '\"scan\"'"
    damage(
        path,
        *(f"DROP TABLE {table}" for table in ("rule_tile", "rule_layer", "rule_set")),
        "DELETE FROM checksum WHERE kind IN ('rules', 'rule_tile')",
        # those kept the state of a scan only while it ran
        f"DELETE FROM checksum WHERE kind = 'scan' AND {finished}",
        f"DELETE FROM scan_state WHERE {finished}",
        "PRAGMA user_version = 5",
    )
    if version == 5:
        return
    damage(
        path,
        "DROP TABLE certainty",
        "DROP TABLE certify_state",
        "DELETE FROM checksum WHERE kind IN ('certainty', 'certify')",
        "PRAGMA user_version = 4",
    )
    if version == 4:
        return
    damage(
        path,
        "DROP TABLE map_filters",
        "DELETE FROM checksum WHERE kind = 'map_filters'",
        "PRAGMA user_version = 3",
    )
    if version == 3:
        return
    with writing(path) as connection:
        connection.execute("DELETE FROM meta WHERE key IN ('bands', 'wholes')")
    tables = ("field", "band", "picture", "activation")
    damage(
        path,
        "DROP VIEW hits",
        "DROP INDEX hit_by_image",
        *(f"DROP TABLE {table}" for table in tables),
        f"DELETE FROM checksum WHERE kind IN {_NEW_IN_FORMAT_3}",
        *["DROP TABLE checksum"] * (version == 1),
        f"PRAGMA user_version = {version}",
    )
    connection = sqlite3.connect(path)
    connection.execute("VACUUM")
    connection.close()


def damage(path: Path, *statements: str) -> None:
    """Change rows as a disk would: past the checksums."""
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def keys(connection: sqlite3.Connection) -> set[str]:
    return {key for (key,) in connection.execute("SELECT key FROM meta")}


def in_the_middle_of_a_commit(path: Path, place: Path) -> Path:
    """Return a copy of the files of a step as a kill leaves them: pages are written, the journal is still there."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA cache_spill = 1")
    connection.execute("PRAGMA cache_size = 1")
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("INSERT INTO meta VALUES (?, ?)", [(f"half {i}", "x" * 4000) for i in range(40)])
    place.mkdir()
    for name in (path.name, f"{path.name}-journal"):
        shutil.copy(path.with_name(name), place / name)
    connection.execute("ROLLBACK")
    connection.close()
    return place / path.name


def first_hit(path: Path) -> Hit:
    return backlight.open_atlas(path)["1"][0].hits[0]


def put_tile(path: Path, **columns: object) -> None:
    """Put something else into the place of the first tile, with its checksum."""
    with writing(path) as connection:
        for column, value in columns.items():
            connection.execute(
                f"UPDATE hit SET {column} = ? WHERE layer_id = 0 AND channel = 0 AND rank = 0", (value,)
            )
