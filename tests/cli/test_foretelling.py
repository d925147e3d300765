"""`backlight foretelling` prints, keeps and draws what it found."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

import backlight
from cli.running import BUILD, run

MODEL = "mine.py:make"


def test_foretelling_prints_and_keeps_what_it_found(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*BUILD, "--maps", "3") == 0
    capsys.readouterr()
    options = ["--maps", "2", "--hits", "2", "-o", "f.png", "--save", "numbers"]
    assert run("foretelling", "a.atlas", MODEL, *options) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "8 hits of 2 layers, each covered by a square at many places" in printed
    assert (
        "rank correlation of energy and fall layer deconvnet guided gradient gradient x input centre relu1"
        in printed
    )
    assert (
        "the same given the distance from the unit layer deconvnet guided gradient gradient x input relu1"
        in printed
    )
    assert Image.open("f.png").width > 300
    assert Path("numbers.json").exists()
    found = backlight.open_atlas("a.atlas")["relu2"].foretelling
    assert found is not None
    assert found.n == 2


def test_a_share_that_is_none_is_refused_in_one_line(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("foretelling", "a.atlas", MODEL, "--size", "400") == 2
    assert "the size of the square is a share between 0 and 1" in " ".join(capsys.readouterr().err.split())
