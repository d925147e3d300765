"""Atlases made to do harm: each a change of a tiny one, its checksums right, as whoever means harm would make them."""

from __future__ import annotations

import io
import json
import sqlite3
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from backlight.atlas import checksums

Change = Callable[[sqlite3.Connection], None]

_VALUES: dict[str, Any] = {
    "null": None, "minus one": -1, "zero": 0, "huge": 2**62, "large float": 1e308, "infinite": float("inf"),
    "half": 0.5, "word": "word", "empty": "", "bytes": b"bytes", "no bytes": b"", "long": "x" * 300_000,
    "escapes": "\x1b[2J\x07\n<b>[/x]", "surrogate": b"\xff\xfe",
}  # fmt: skip
_IN_JSON: dict[str, str] = {
    "null": "null", "minus one": "-1", "zero": "0", "huge": "1" + "0" * 30, "million": "1000000", "infinite": "1e999",
    "NaN": "NaN", "digits": "1" * 5000, "true": "true", "word": '"word"', "fraction": '"1e1000000000"',
    "by zero": '"1/0"', "long": json.dumps("x" * 300_000), "list": "[]", "object": "{}",
    "deep": "[" * 100_000 + "]" * 100_000, "lists": "[[1], [2]]", "escapes": json.dumps("\x1b[2J\n<b>[/x]"),
}  # fmt: skip


def changes(path: Path) -> Iterator[tuple[str, Change]]:
    """Yield the names of all changes of the atlas in a file, and what makes them."""
    connection = sqlite3.connect(path)
    tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for table in tables:
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        for column in columns:
            for name, value in _VALUES.items():
                yield f"{table}.{column} {name}", _set(table, column, value)
        yield f"{table} emptied", _run(f"DELETE FROM {table}")
        yield f"{table} missing", _run(f"DROP TABLE {table}")
        view = _ENDLESS.format(table, ", ".join(f"i AS {column}" for column in columns))
        yield f"{table} a view without end", _run(f"ALTER TABLE {table} RENAME TO kept", view)
        yield (
            f"{table} with a trigger",
            _run(f"CREATE TRIGGER t AFTER INSERT ON {table} BEGIN DELETE FROM hit; END"),
        )
    for table, column, where in (own for own in _JSON if own[0] in tables):
        (text,) = connection.execute(f"SELECT {column} FROM {table} WHERE {where}").fetchone()
        for place in _places(json.loads(text)):
            way = f"{table}.{column} {'.'.join(map(str, place))}"
            for name, value in _IN_JSON.items():
                yield f"{way} {name}", _set(table, column, partial(_replaced, text, place, value), where)
            yield f"{way} missing", _set(table, column, partial(_replaced, text, place, None), where)
        yield f"{table}.{column} no JSON", _set(table, column, "{", where)
    for name, data in _tiles().items():
        for column in ("patch", "projection"):
            yield f"hit.{column} {name}", _set("hit", column, data)
            yield f"band.{column} {name}", _set("band", column, data)
            if "rule_tile" in tables:
                yield f"rule_tile.{column} {name}", _set("rule_tile", column, data)
        yield f"picture {name}", _set("picture", "picture", data)
    for name, data in _arrays().items():
        yield f"filters {name}", _set("filters", "weights", data)
        yield f"filters of maps {name}", _set("map_filters", "weights", data)
        yield f"study {name}", _set("study", "result", data)
    for name, data in _maps().items():
        yield f"activation {name}", _set("activation", "codes", data)
    for name, statements in _SCHEMAS.items():
        yield name, _run(*statements)
    connection.close()


def change(path: Path, make: Change) -> bool:
    """Change an atlas and make its checksums anew; False where SQLite itself does not allow the change."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        has_checksums = connection.execute("PRAGMA user_version").fetchone()[0] >= 2
        if has_checksums:
            checksums.watch(connection)
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("BEGIN")
        make(connection)
        if has_checksums:
            checksums.seal(connection)
        connection.execute("COMMIT")
    except sqlite3.Error:
        # Once the tables are others there are no checksums to make: what was changed stays.
        if connection.in_transaction:
            if make.__name__ == "schema":
                connection.execute("COMMIT")
                return True
            connection.execute("ROLLBACK")
        return False
    finally:
        connection.close()
    return True


_ENDLESS = (
    "CREATE VIEW {} AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT {} FROM n"
)
_JSON = (
    ("meta", "value", "key = 'identity'"),
    ("meta", "value", "key = 'origin'"),
    ("meta", "value", "key = 'phase'"),
    ("layer", "description", "layer_id = 1"),
    ("evidence", "found", "channel = -1"),
    ("rule_set", "rules", "rules_id = 0"),
    ("rule_layer", "description", "rule_layer_id = 1"),
)
_SCHEMAS = {
    "one more table": ("CREATE TABLE more (a)",),
    "a table of FTS": ("CREATE VIRTUAL TABLE more USING fts5(a)",),
    "an index": ("CREATE INDEX i ON hit (value)",),
    "a view beside": ("CREATE VIEW v AS SELECT load_extension('evil')",),
    "a column more": ("ALTER TABLE hit ADD COLUMN more",),
    "a generated column": ("ALTER TABLE hit ADD COLUMN more AS (randomblob(1000000000))",),
    "another application": ("PRAGMA application_id = 5",),
    "a later format": ("PRAGMA user_version = 7",),
    "an earlier format": ("PRAGMA user_version = 1",),
    "the format before": ("PRAGMA user_version = 3",),
    "no view": ("DROP VIEW hits",),
    "another view": ("DROP VIEW hits", "CREATE VIEW hits AS SELECT load_extension('evil')"),
    "no format": ("PRAGMA user_version = 0",),
    "a schema that is no SQL": ("UPDATE sqlite_master SET sql = 'CREATE TABLE' WHERE name = 'hit'",),
    "a table in a foreign page": ("UPDATE sqlite_master SET rootpage = 1 WHERE name = 'hit'",),
    "a table beyond the end": ("UPDATE sqlite_master SET rootpage = 99999 WHERE name = 'image'",),
    "two tables in one page": (
        "UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM sqlite_master WHERE name = 'image') "
        "WHERE name = 'skipped'",
    ),
}


def _set(table: str, column: str, value: Any, where: str = "1") -> Change:
    def rows(connection: sqlite3.Connection) -> None:
        # one row of each table, so that keys stay different
        condition = (
            f"rowid = (SELECT min(rowid) FROM {table})" if where == "1" and table in _WITH_ROWS else where
        )
        if where == "1" and table not in _WITH_ROWS:
            keys = {"meta": "key", "feature_map": "layer_id * 1000 + channel"}
            key = (keys | dict.fromkeys(("evidence", "certainty"), "channel")).get(table, "kind")
            condition = f"{key} = (SELECT min({key}) FROM {table})"
        bound = value() if callable(value) else value  # large ones are only made where they are wanted
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE {condition}", (bound,))

    return rows


_WITH_ROWS = (
    *("layer", "hit", "image", "skipped", "filters", "scan_state", "study"),
    *("field", "band", "picture", "activation", "map_filters", "certify_state"),
    *("rule_set", "rule_layer", "rule_tile"),
)


def _run(*statements: str) -> Change:
    def schema(connection: sqlite3.Connection) -> None:
        for statement in statements:
            connection.execute(statement)

    return schema


def _places(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to each value inside a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*before, key)
        yield from _places(inner, (*before, key))


_MARK = "@@changed@@"


def _replaced(whole: str, place: tuple[Any, ...], text: str | None) -> str:
    """Return a JSON text with the value at a place replaced by a text that need not be JSON, or left out."""
    value = inner = json.loads(whole)
    for key in place[:-1]:
        inner = inner[key]
    if text is None:
        del inner[place[-1]]
        return json.dumps(value)
    inner[place[-1]] = _MARK
    return json.dumps(value).replace(json.dumps(_MARK), text)


def _tiles() -> dict[str, bytes]:
    """Return what a tile must not be."""

    def saved(kind: str, size: tuple[int, int], **options: Any) -> bytes:
        buffer = io.BytesIO()
        Image.new("RGB", size).save(buffer, kind, **options)
        return buffer.getvalue()

    webp = saved("WEBP", (3, 3), lossless=True)
    frames = [Image.new("RGB", (3, 3)), Image.new("RGB", (3, 3), "red")]
    return {
        "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 3 3\n%%EndComments\n(ran) (w) file closefile\n%%EOF\n",
        "PNG": saved("PNG", (3, 3)),
        "TIFF": saved("TIFF", (3, 3)),
        "GIF": saved("GIF", (3, 3)),
        "a bomb": webp[:21] + (2**28 - 1).to_bytes(4, "little") + webp[25:],  # says 16384 x 16384 pixels
        "another size": saved("WEBP", (4, 3), lossless=True),
        "an animation": saved("WEBP", (3, 3), save_all=True, append_images=frames),
        "cut off": webp[:-4],
        "only a header": webp[:30],
    }


def _maps() -> dict[str, bytes | Callable[[], bytes]]:
    """Return what a map of activations must not be."""
    return {
        "no zlib": b"\x00" * 20,
        "too short": zlib.compress(b"\x01"),
        "too long": zlib.compress(b"\x01" * 1000),
        "a bomb": lambda: zlib.compress(bytes(2**30)),
        "cut off": zlib.compress(bytes(range(144)))[:-5],
        "with more behind it": zlib.compress(bytes(144)) + b"more",
    }


def _arrays() -> dict[str, bytes | Callable[[], bytes]]:
    """Return what filters or a study must not be."""

    def saved(array: Any, shape: tuple[int, ...] | None = None) -> bytes:
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=True)
        data = buffer.getvalue()
        return data if shape is None else data.replace(b"(2, 3, 3, 3)", str(shape).encode()[:12].ljust(12))

    def packed(name: str, data: bytes) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, data)
        return buffer.getvalue()

    class Harm:
        def __reduce__(self) -> tuple[Any, ...]:
            return print, ("ran",)

    small = np.zeros((2, 3, 3, 3), np.float32)
    pickled = saved(np.array([Harm()], object))
    return {
        "too large": saved(small, (99999, 9, 9)),
        "negative": saved(small, (-2, -3, 3, 3)),
        "of float64": saved(np.zeros((2, 3, 3, 3))),
        "of another shape": saved(np.zeros((2, 27), np.float32)),
        "pickled": pickled,
        "a pickle in a zip": packed("json.npy", pickled),
        "a large zip": lambda: packed("json.npy", saved(np.zeros(300_000_000, np.uint8))),
        "a zip in a zip": packed("json.npy", packed("json.npy", saved(small))),
        "a header without end": b"\x93NUMPY\x02\x00\xff\xff\xff\x7f{" + b" " * 100,
        "cut off": saved(small)[:-5],
    }
