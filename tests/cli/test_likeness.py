"""`backlight invert --goal maximise --atlas`: what it says of a maximised picture beside the map's hits."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from backlight import open_atlas
from backlight.atlas import keep_origin
from backlight.inversion import likeness
from cli.running import invert, picture

MAXIMISE = ("--goal", "maximise", "-o", "f.png")


def a_map(layer: str) -> str:
    return str(open_atlas("a.atlas")[layer].channels[0])


def test_a_maximised_picture_is_compared_with_the_hits_of_its_map(
    built: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = a_map("relu2")
    options = (*MAXIMISE, "--layers", "relu2", "--channels", channel, "--atlas", "a.atlas")
    monkeypatch.setattr(likeness, "UNLIKE", 2.0)  # nothing carries that much
    assert invert(*options) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert re.search(
        rf"relu2, map {channel}: like its \d+ hits: maps that are silent in all of them", printed
    )
    monkeypatch.setattr(likeness, "UNLIKE", 0.0)  # and everything this much
    assert invert(*options) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert re.search(rf"relu2, map {channel}: unlike all of its \d+ hits: \d+% of it is carried", printed)
    assert "maps of relu1" in printed


def test_without_an_atlas_nothing_is_compared_and_below_the_first_layer_there_is_nothing(
    built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invert(*MAXIMISE, "--layers", "relu2", "--channels", a_map("relu2")) == 0
    first = a_map("relu1")
    assert invert(*MAXIMISE, "--layers", "relu1", "--channels", first, "--atlas", "a.atlas") == 0
    assert "hits" not in capsys.readouterr().out


def test_what_cannot_be_compared_is_refused_before_the_search(
    built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invert(picture(), "-o", "f.png", "--layers", "relu2", "--atlas", "a.atlas") == 2
    assert "other goals have none" in capsys.readouterr().err
    known = open_atlas("a.atlas")["relu2"].channels
    other = str(next(c for c in range(12) if c not in known))
    assert invert(*MAXIMISE, "--layers", "relu2", "--channels", other, "--atlas", "a.atlas") == 2
    assert f"map {other} of layer 'relu2' has 0 hits in a.atlas" in " ".join(capsys.readouterr().err.split())
    keep_origin(Path("a.atlas"), {"model": None, "images": "s3://bucket/photos", "weights": None})
    channel = str(known[0])
    assert invert(*MAXIMISE, "--layers", "relu2", "--channels", channel, "--atlas", "a.atlas") == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "a.atlas names 's3://bucket/photos' as its images, and that is an address" in told
    assert not Path("f.png").exists()
