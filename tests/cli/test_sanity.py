"""`backlight sanity`: what it writes and prints."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

import backlight
from cli.running import BUILD, MODEL, run


def test_sanity_prints_what_stays(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*BUILD, "--maps", "3", "--layers", "relu2") == 0
    capsys.readouterr()
    assert run("sanity", "a.atlas", MODEL, "--maps", "2", "-o", "s.png", "--save", "s") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "relu2: similarity to the trained projection" in printed
    assert "deconvnet all weights random" in printed
    assert "rules replaced ranks magnitudes structure edges deconvnet all weights random" in printed
    assert "Structure: SSIM. Edges: correlation of HOG descriptors." in printed
    assert "What remains with random weights was not learnt." in printed
    assert Image.open("s.png").width > 300
    assert Path("s.json").exists()
    assert run("sanity", "a.atlas", MODEL, "--maps", "1") == 2
    assert "at least two hits are needed" in capsys.readouterr().err


def test_a_stopped_study_that_keeps_nothing_says_so(
    built: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = backlight.studies.sanity

    def stopped(*_: object, **named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "run", stopped)
    assert run("sanity", "a.atlas", MODEL) == 130
    assert "stopped; nothing was written" in capsys.readouterr().err
