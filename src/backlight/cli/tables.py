"""Tables that commands write: CSV, JSON or Parquet by the name of the file, row by row, however many there are."""

from __future__ import annotations

import csv
import importlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from backlight.errors import BadInputError
from backlight.storage import check_place, replacing

SUFFIXES = (".csv", ".json", ".parquet")
_ROWS_AT_ONCE = 5_000
_TYPES = {str: "string", int: "int64", float: "float64", bool: "bool_"}

Row = Mapping[str, Any]


def check_table(path: Path) -> Path:
    """Return the path of a table to write, refusing what cannot be written before any work is done."""
    if path.suffix.lower() not in SUFFIXES:
        raise BadInputError(f"a table is written as .csv, .json or .parquet, got {str(path)!r}")
    if path.suffix.lower() == ".parquet":
        _pyarrow("pyarrow")
    return check_place(path, "table")


def write_table(rows: Iterable[Row], columns: Mapping[str, type], path: Path) -> int:
    """Write a table and return its number of rows.

    Args:
        rows: Each with a value, or None, for every column.
        columns: The columns, in order, and what their values are: str, int, float or bool.
        path: Where; its ending says how.

    Raises:
        StorageError: It cannot be written; a file that was there is as it was.
    """
    write = _WRITERS[path.suffix.lower()]
    with replacing(path) as (fresh,):
        counter = _Counted(rows)
        write(counter, columns, fresh)
    return counter.n


def as_text(value: Any) -> Any:
    """Return a text so that no spreadsheet takes it for a formula: an atlas may come from anybody.

    Example:
        >>> as_text("=1+1"), as_text("relu1"), as_text(-3)
        ("'=1+1", 'relu1', -3)
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@")) else value


class _Counted:
    """Rows that are counted as they pass."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows, self.n = rows, 0

    def __iter__(self) -> Iterator[Row]:
        for row in self._rows:
            self.n += 1
            yield row


def _write_csv(rows: Iterable[Row], columns: Mapping[str, type], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(columns))
        writer.writeheader()
        writer.writerows({name: as_text(value) for name, value in row.items()} for row in rows)


def _write_json(rows: Iterable[Row], columns: Mapping[str, type], path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write("[")
        for n, row in enumerate(rows):
            file.write(("," if n else "") + "\n" + json.dumps(dict(row), ensure_ascii=False))
        file.write("\n]\n")


def _write_parquet(rows: Iterable[Row], columns: Mapping[str, type], path: Path) -> None:
    pyarrow, parquet = _pyarrow("pyarrow"), _pyarrow("pyarrow.parquet")
    schema = pyarrow.schema([(name, getattr(pyarrow, _TYPES[kind])()) for name, kind in columns.items()])
    left = iter(rows)
    with parquet.ParquetWriter(path, schema) as writer:
        while some := list(islice(left, _ROWS_AT_ONCE)):
            writer.write_table(pyarrow.Table.from_pylist(list(map(dict, some)), schema))


_WRITERS: dict[str, Callable[[Iterable[Row], Mapping[str, type], Path], None]] = {
    ".csv": _write_csv,
    ".json": _write_json,
    ".parquet": _write_parquet,
}


def _pyarrow(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise BadInputError(
            "Parquet needs the package pyarrow; `pip install 'backlight[datasets]'`, or write .csv or .json"
        ) from error
