"""Checksums: a damaged row of an atlas is found when it is read, even where it still looks like a row.

The rows that are read together are a group, and each group has one 64-bit BLAKE2b of its keys and values in the
table `checksum`. No statement that writes needs to know of them: temporary triggers, which live in the writer's
connection and never in the file, note the groups that a step touches, and `seal` computes their checksums just
before the step is committed. A group that lost its rows or its checksum counts as damaged, like one that changed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

BLOCK = 64
"""Images of one group: those whose ids, divided by it, agree."""

CHECKSUM_TABLE = (
    "CREATE TABLE checksum (kind TEXT NOT NULL, key1 INTEGER NOT NULL, key2 INTEGER NOT NULL, key3 INTEGER NOT NULL, "
    "value BLOB NOT NULL, PRIMARY KEY (kind, key1, key2, key3)) WITHOUT ROWID;"
)


class ChecksumError(ValueError):
    """Rows that are not those that were written."""


@dataclass(frozen=True)
class Part:
    """The rows of one table in a group.

    Attributes:
        table: The table.
        columns: Its columns in the group.
        order: What its rows are sorted by; no two rows of a group agree in it.
        where: A condition on one of its columns that the rows of the group meet; none if empty.
    """

    table: str
    columns: str
    order: str
    where: str = ""


@dataclass(frozen=True)
class GroupKind:
    """A kind of groups.

    Attributes:
        keys: Columns, at most three, whose values tell its groups apart.
        parts: Its rows, table by table.
        block: Rows whose keys, divided by it, agree are one group.
        is_large: Whether its groups are read one by one, when they are shown, and not all of them before a resume.
        since: The first format that has its tables.
    """

    keys: tuple[str, ...]
    parts: tuple[Part, ...]
    block: int = 1
    is_large: bool = False
    since: int = 2

    def query(self, part: Part) -> str:
        """Return the query for the rows of a part, its placeholders the keys."""
        conditions = [part.where] * bool(part.where)
        # A range, not the quotient, lets SQLite search the table instead of reading all of it.
        condition = "{0} = ?{1}" if self.block == 1 else "{0} >= {2} * ?{1} AND {0} < {2} * (?{1} + 1)"
        conditions += [condition.format(key, i, self.block) for i, key in enumerate(self.keys, 1)]
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        return f"SELECT {part.columns} FROM {part.table}{where} ORDER BY {part.order}"


_MAP = ("layer_id", "channel")
_FIELD = "layer_id, n_rows, row_p, row_q, first_row, n_cols, col_p, col_q, first_col"
_TILE = "patch, projection, scale", "projection IS NOT NULL"
KINDS = {
    "meta": GroupKind((), (Part("meta", "key, value", "key"),)),
    "layer": GroupKind((), (Part("layer", "layer_id, name, description", "layer_id"),)),
    "image": GroupKind(
        ("image_id",), (Part("image", "image_id, path, label, height, width", "image_id"),), BLOCK
    ),
    "skipped": GroupKind(("image_id",), (Part("skipped", "image_id, path, reason", "image_id"),), BLOCK),
    "map": GroupKind(
        _MAP,
        (
            Part("feature_map", "mean, max, n_active, histogram", "channel"),
            Part("hit", "rank, value, image_id, row, col", "rank"),
        ),
    ),
    "tile": GroupKind((*_MAP, "rank"), (Part("hit", _TILE[0], "rank", _TILE[1]),), is_large=True),
    "filters": GroupKind((), (Part("filters", "layer_id, weights", "layer_id"),)),
    "evidence": GroupKind(("layer_id",), (Part("evidence", "channel, found", "channel"),)),
    "study": GroupKind(("layer_id",), (Part("study", "result", "layer_id"),), is_large=True),
    "scan": GroupKind((), (Part("scan_state", "n_done, arrays", "only"),)),
    "field": GroupKind((), (Part("field", _FIELD, "layer_id"),), since=3),
    "band": GroupKind(_MAP, (Part("band", "bin, value, image_id, row, col", "bin"),), since=3),
    "band_tile": GroupKind(
        (*_MAP, "bin"), (Part("band", _TILE[0], "bin", _TILE[1]),), is_large=True, since=3
    ),
    "picture": GroupKind(("image_id",), (Part("picture", "picture", "image_id"),), is_large=True, since=3),
    "activation": GroupKind((*_MAP, "rank"), (Part("activation", "codes", "rank"),), is_large=True, since=3),
    "map_filters": GroupKind(
        ("layer_id",), (Part("map_filters", "n_groups, weights", "layer_id"),), is_large=True, since=4
    ),
    "certainty": GroupKind(("layer_id",), (Part("certainty", "channel, n_certain", "channel"),), since=5),
    "certify": GroupKind(("step",), (Part("certify_state", "arrays", "step"),), since=5),
    "rules": GroupKind(
        (),
        (
            Part("rule_set", "rules_id, rules", "rules_id"),
            Part("rule_layer", "rule_layer_id, rules_id, layer_id, description", "rule_layer_id"),
        ),
        since=6,
    ),
    "rule_tile": GroupKind(
        ("rule_layer_id", "channel", "rank"),
        (Part("rule_tile", "patch, projection, scale", "rank"),),
        is_large=True,
        since=6,
    ),
}
_QUERIES = {name: tuple(kind.query(part) for part in kind.parts) for name, kind in KINDS.items()}

RowGroup = list[list[tuple[Any, ...]]]
"""The rows of a group, for each part of its kind."""


def place(kind: str, keys: Sequence[int] = ()) -> str:
    """Return where a group is, in words.

    Example:
        >>> place("tile", (0, 17, 3))
        'table hit (layer_id 0, channel 17, rank 3)'
    """
    tables = " and ".join(part.table for part in KINDS[kind].parts)
    if KINDS[kind].block > 1:
        return f"table {tables} (image_id {keys[0] * BLOCK} to {keys[0] * BLOCK + BLOCK - 1})"
    words = ", ".join(f"{name} {key}" for name, key in zip(KINDS[kind].keys, keys, strict=True))
    return f"table {tables} ({words})" if words else f"table {tables}"


def read_group(connection: sqlite3.Connection, kind: str, keys: Sequence[int], check: bool) -> RowGroup:
    """Return the rows of a group, compared with its checksum.

    Raises:
        ChecksumError: They are not those that were written.
    """
    found = _rows(connection, kind, keys)
    if check:
        kept = connection.execute(
            "SELECT value FROM checksum WHERE kind = ? AND key1 = ? AND key2 = ? AND key3 = ?",
            (kind, *_three(keys)),
        ).fetchone()
        # None on both sides: a group that has neither rows nor a checksum
        if (None if kept is None else kept[0]) != _checksum(kind, keys, found):
            raise ChecksumError("the rows are not what was written (their checksum differs)")
    return found


def groups(connection: sqlite3.Connection) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the kinds and keys of all groups that have rows or a checksum."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    for name, kind in KINDS.items():
        if kind.since > version:
            continue
        columns = [f"{key} / {kind.block}" for key in kind.keys] or ["0"]
        parts = [
            f"SELECT {', '.join(columns)} FROM {part.table}{f' WHERE {part.where}' * bool(part.where)}"
            for part in kind.parts
        ]
        keys = [f"key{i + 1}" for i in range(len(columns))]
        parts.append(f"SELECT {', '.join(keys)} FROM checksum WHERE kind = '{name}'")
        for found in connection.execute(" UNION ".join(parts)).fetchall():
            yield name, tuple(found[: len(kind.keys)])


def written(connection: sqlite3.Connection) -> list[tuple[str, tuple[int, ...]]]:
    """Return the kinds and keys of all groups that have a checksum, except for the large ones."""
    large = ", ".join(f"'{name}'" for name, kind in KINDS.items() if kind.is_large)
    rows = connection.execute(f"SELECT kind, key1, key2, key3 FROM checksum WHERE kind NOT IN ({large})")
    return [(kind, tuple(three[: len(KINDS[kind].keys)])) for kind, *three in rows.fetchall()]


def watch(connection: sqlite3.Connection) -> None:
    """Note from now on which groups a connection touches, for `seal`."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute(
        "CREATE TEMP TABLE touched (kind, key1, key2, key3, PRIMARY KEY (kind, key1, key2, key3)) WITHOUT ROWID"
    )
    for name, kind in KINDS.items():
        for part in kind.parts if kind.since <= version else ():
            for event in ("INSERT", "DELETE", f"UPDATE OF {part.columns}"):
                # A deleted row has only its old values. SQLite's / of whole numbers rounds to a whole number.
                row = "OLD" if event == "DELETE" else "NEW"
                keys = [f"{row}.{key} / {kind.block}" for key in kind.keys]
                # keys that a kind lacks are 0, as in the table of checksums (`_three`)
                values = ", ".join([f"'{name}'", *keys, *"0" * (3 - len(keys))])
                when = f"WHEN {row}.{part.where} " if part.where else ""
                # event[:6] is INSERT, DELETE or UPDATE; a group that a step touches again is noted already (OR IGNORE)
                connection.execute(
                    f"CREATE TEMP TRIGGER touch_{name}_{part.table}_{event[:6]} AFTER {event} ON main.{part.table} "
                    f"{when}BEGIN INSERT OR IGNORE INTO touched VALUES ({values}); END"
                )


def seal(connection: sqlite3.Connection) -> None:
    """Compute the checksums of the groups that a step has touched; call it before the step is committed."""
    for kind, *three in connection.execute("SELECT * FROM temp.touched").fetchall():
        keys = three[: len(KINDS[kind].keys)]
        value = _checksum(kind, keys, _rows(connection, kind, keys))
        if value is None:  # the group's last row is gone
            statement = "DELETE FROM checksum WHERE kind = ? AND key1 = ? AND key2 = ? AND key3 = ?"
            connection.execute(statement, (kind, *three))
        else:
            connection.execute(
                "INSERT OR REPLACE INTO checksum VALUES (?, ?, ?, ?, ?)", (kind, *three, value)
            )
    connection.execute("DELETE FROM temp.touched")


def _rows(connection: sqlite3.Connection, kind: str, keys: Sequence[int]) -> RowGroup:
    return [connection.execute(query, tuple(keys)).fetchall() for query in _QUERIES[kind]]


def _three(keys: Sequence[int]) -> tuple[int, ...]:
    return (*keys, 0, 0, 0)[:3]


def _checksum(kind: str, keys: Sequence[int], parts: RowGroup) -> bytes | None:
    """Return the checksum of a group; None where it has no rows."""
    if not any(parts):
        return None
    state = blake2b(repr((kind, *keys)).encode(), digest_size=8)
    for rows in parts:
        # how many rows follow: the same rows shared out otherwise over the parts read otherwise
        state.update(b"part %d" % len(rows))
        for row in rows:
            for value in row:
                # Every value says its type and its length, so that no two rows read the same.
                if isinstance(value, str):
                    value, mark = value.encode("utf-8", "surrogatepass"), b"t%d:"
                elif isinstance(value, bytes):
                    mark = b"b%d:"
                else:
                    value, mark = repr(value).encode(), b"n%d:"
                state.update(mark % len(value))
                state.update(value)
    return state.digest()
