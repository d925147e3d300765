"""`backlight export`: what it writes and says, and bad input in one clear line."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from backlight import open_atlas
from cli.running import check_refused, run
from fuzz.tiny import make_tiny_atlas


def test_a_site_is_written_and_its_size_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_tiny_atlas(Path("t.atlas"))
    assert run("export", "t.atlas", "site") == 0
    n = sum(path.is_file() for path in Path("site").rglob("*")) - 1  # and the list of what is there
    assert f"site/index.html ({n} files, " in capsys.readouterr().out


def test_the_maps_of_another_atlas_stand_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_tiny_atlas(Path("t.atlas"))
    make_tiny_atlas(Path("other.atlas"), 1)
    assert run("export", "t.atlas", "site", "--beside", "other.atlas") == 0
    assert "other.atlas" in Path("site/compare.html").read_text("utf-8")
    assert Path("site/sheets/beside-3--1-patches.webp").exists()


@pytest.mark.parametrize("name", ["hits.csv", "hits.json", "HITS.CSV"])
def test_hits_are_written_as_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    make_tiny_atlas(Path("t.atlas"))
    assert run("export", "t.atlas", name) == 0
    assert capsys.readouterr().out == f"{name} (12 hits, 17 columns)\n"
    text = Path(name).read_text("utf-8")
    found = json.loads(text) if name.endswith("json") else list(csv.DictReader(io.StringIO(text)))
    assert [(row["layer"], int(row["channel"]), int(row["rank"])) for row in found[:3]] == [
        ("1", 0, 0), ("1", 0, 1), ("1", 1, 0),
    ]  # fmt: skip
    hit = open_atlas("t.atlas")["1"][0].hits[0]
    assert (float(found[0]["value"]), found[0]["image"]) == (hit.value, hit.image.path)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("hits.xlsx",), "a table is written as .csv, .json or .parquet, got 'hits.xlsx'"),
        (("hits.csv", "--beside", "t.atlas"), "no pictures, so --beside would change nothing in it"),
        (
            ("hits.csv", "--rules", "guided"),
            "no pictures, so --rules would change nothing in it; leave it out",
        ),
        (("gone/hits.csv",), "gone"),
    ],
)
def test_a_table_that_cannot_be_written_is_one_clear_line(
    workplace: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], text: str
) -> None:
    make_tiny_atlas(Path("t.atlas"))
    check_refused(capsys, ("export", "t.atlas", *arguments), text)


def test_a_folder_that_is_called_like_a_table_holds_a_site(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_tiny_atlas(Path("t.atlas"))
    Path("site.csv").mkdir()
    assert run("export", "t.atlas", "site.csv") == 0
    assert Path("site.csv/index.html").exists()


def test_a_folder_with_other_files_is_one_clear_line(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_tiny_atlas(Path("t.atlas"))
    check_refused(capsys, ("export", "t.atlas", "pictures"), "holds other files; export into a new folder")
