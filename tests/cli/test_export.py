"""`backlight export`: what it writes and says, and bad input in one clear line."""

from __future__ import annotations

from pathlib import Path

import pytest

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


def test_a_folder_with_other_files_is_one_clear_line(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_tiny_atlas(Path("t.atlas"))
    check_refused(capsys, ("export", "t.atlas", "pictures"), "holds other files; export into a new folder")
