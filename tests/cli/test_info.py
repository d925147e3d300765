"""`backlight info`: what an atlas is, in words and as JSON, and bad input in one clear line."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from cli.running import check_refused, run
from fuzz.tiny import make_old_atlas, make_tiny_atlas


def test_a_finished_atlas_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_tiny_atlas(Path("t.atlas"))
    assert run("info", "t.atlas") == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == "t.atlas: an atlas of Sequential, finished"
    said = {line[2:13].strip(): line[13:] for line in lines}
    assert list(said) == [
        "input",
        "images",
        "layers",
        "maps",
        "rules",
        "studies",
        "keeps",
        "built by",
        "file",
    ]
    assert said["input"] == "3x12x12"
    assert said["images"].startswith("5 images of ")
    assert said["images"].endswith(" (1 picture could not be read)")
    assert said["layers"] == "3 layers, 1 to 5"
    assert said["maps"] == "6 of 7 feature maps shown, up to 2 hits each"
    assert said["rules"] == "deconvnet, guided"
    assert said["studies"] == "faithfulness (1 layer)"
    assert said["keeps"] == "whole images and examples of bands"
    assert said["built by"] == (
        "backlight build demo pictures -o t.atlas  (options may be missing: it does not keep them)"
    )
    assert said["file"] == "less than 1 MB, format 6"


def test_an_older_and_an_unfinished_atlas_in_words(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_old_atlas(Path("old.atlas"))
    assert run("info", "old.atlas") == 0
    assert "format 1, without checksums" in capsys.readouterr().out
    shutil.copy("a.atlas", "half.atlas")
    with sqlite3.connect("half.atlas") as connection:  # as a kill before the last hits leaves it
        connection.execute("UPDATE meta SET value = '\"project\"' WHERE key = 'phase'")
        connection.execute("DELETE FROM checksum WHERE kind = 'meta'")
        connection.execute("UPDATE hit SET projection = NULL WHERE rank = 8")
    connection.close()
    assert run("info", "half.atlas") == 2
    assert "damaged" in capsys.readouterr().err


def test_json_has_all_of_it_and_the_layers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_tiny_atlas(Path("t.atlas"))
    assert run("info", "t.atlas", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["path"], found["done"], found["n_shown"], found["missing"]) == ("t.atlas", True, 6, None)
    assert [own["name"] for own in found["layers"]] == ["1", "3", "5"]
    assert found["layers"][0]["shown"] == [0, 1]


BAD = [
    (("info", "gone.atlas"), "no atlas at 'gone.atlas'"),
    (("info", "w.pt"), "'w.pt' exists and is not an atlas"),
    (("info", "pictures"), "is a folder, not an atlas"),
]


@pytest.mark.parametrize(("arguments", "text"), BAD, ids=[" ".join(a) for a, _ in BAD])
def test_bad_input_is_one_clear_line_and_exit_code_2(
    workplace: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], text: str
) -> None:
    check_refused(capsys, arguments, text)
