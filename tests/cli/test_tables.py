"""Tables by the ending of their file: row for row, in bounded memory, and refused where they cannot be written."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backlight.cli.tables import check_table, write_table
from backlight.errors import BadInputError

COLUMNS: dict[str, type] = {"name": str, "n": int, "share": float, "is_new": bool}
ROWS: list[dict[str, Any]] = [
    {"name": 'äö, "x"\n', "n": 3, "share": 0.1, "is_new": True},
    {"name": None, "n": None, "share": None, "is_new": None},
    {"name": "=1+1", "n": -7, "share": -2.5e-8, "is_new": False},
]


def test_csv_holds_text_that_no_spreadsheet_runs(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    assert write_table(ROWS, COLUMNS, path) == 3
    with path.open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["name"] for row in found] == ['äö, "x"\n', "", "'=1+1"]
    assert [row["n"] for row in found] == ["3", "", "-7"]
    assert float(found[2]["share"]) == -2.5e-8


@pytest.mark.parametrize("rows", [ROWS, []])
def test_json_is_a_list_of_the_rows(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    path = tmp_path / "t.json"
    assert write_table(rows, COLUMNS, path) == len(rows)
    assert json.loads(path.read_text("utf-8")) == rows


@pytest.mark.parametrize("rows", [ROWS, []])
def test_parquet_has_the_types_of_the_columns(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "t.PARQUET"
    assert write_table(rows, COLUMNS, path) == len(rows)
    table = parquet.read_table(path)
    assert [str(kind) for kind in table.schema.types] == ["string", "int64", "double", "bool"]
    assert table.to_pylist() == rows


@pytest.mark.parametrize("suffix", [".csv", ".json", ".parquet"])
def test_rows_are_written_as_they_come(tmp_path: Path, suffix: str) -> None:
    """A table larger than memory: at most one batch of rows is held."""
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    alive, most = 0, 0

    class Counted(dict[str, Any]):
        def __init__(self, n: int) -> None:
            nonlocal alive, most
            super().__init__(name="x", n=n, share=0.5, is_new=False)
            alive += 1
            most = max(most, alive)

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def rows() -> Iterator[dict[str, Any]]:
        yield from map(Counted, range(25_000))

    assert write_table(rows(), COLUMNS, tmp_path / f"t{suffix}") == 25_000
    assert most <= 10_001


def test_what_cannot_be_written_is_refused_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        BadInputError, match=r"a table is written as \.csv, \.json or \.parquet, got 't\.xlsx'"
    ):
        check_table(Path("t.xlsx"))
    with pytest.raises(BadInputError, match="no such folder"):
        check_table(tmp_path / "gone" / "t.csv")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(BadInputError, match=r"pip install 'backlight\[datasets\]'"):
        check_table(tmp_path / "t.parquet")
    assert check_table(tmp_path / "t.csv") == tmp_path / "t.csv"


def test_a_table_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("before")

    def failing() -> Iterator[dict[str, Any]]:
        yield ROWS[0]
        raise BadInputError("half way")

    with pytest.raises(BadInputError, match="half way"):
        write_table(failing(), COLUMNS, path)
    assert path.read_text() == "before"
