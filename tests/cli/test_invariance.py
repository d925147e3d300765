"""`backlight invariance`: what it says and saves of pictures that move, and bad input in one clear line."""

from __future__ import annotations

from pathlib import Path

import pytest

from backlight.studies.invariance import Invariance
from cli.running import check_refused, run

MOVE = ("invariance", "mine.py:make", "pictures/a/000.png", "pictures/b/001.png", "--size", "32")
FEW = ("--translation", "-2:2:2", "--scale", "1", "--rotation", "0,90")


def test_what_is_said_is_what_is_saved(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = ("--weights", "w.safetensors", "--layers", "relu1", "--class", "1,4", "--save", "n")
    assert run(*MOVE, *FEW, *own) == 0
    words = " ".join(capsys.readouterr().out.split())
    found = Invariance.load("n").summary()
    for transform, amount in (("translation", "{:+g} px"), ("rotation", "{:g}°")):
        whole = found[transform]["layers"]["relu1"]["whole"]
        furthest = whole["furthest"]
        assert f"relu1 whole {whole['mean']:.2f} " in words
        assert f" {furthest['value']:.2f} at {amount.format(furthest['amount'])} " in words
        probability = found[transform]["probability"]
        assert f"probability of the true class: {probability['original']:.2f}, " in words
    assert "another image: from each image to the next" in words
    assert "relu1, rotation: of " in words
    assert words.endswith("n.json, .npz")


def test_turns_that_only_move_pixels_are_named_where_others_blur(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shifts = ("--translation", "0,2", "--scale", "1", "--layers", "relu1")
    assert run(*MOVE, *shifts, "--rotation", "0,45,90,180") == 0
    assert "90°, 180°: these turns only move pixels; other turns" in " ".join(capsys.readouterr().out.split())
    assert run(*MOVE, *shifts, "--rotation", "0,90") == 0
    assert "only move pixels" not in capsys.readouterr().out


BAD = [
    ((*MOVE, "--border", "black"), "a border is mean or edge, got 'black'"),
    ((*MOVE, "--measure", "all"), "--measure is whole or peak, got 'all'"),
    ((*MOVE, "--translation", "1.5"), "--translation takes whole numbers, got '1.5'"),
    ((*MOVE, "--rotation", "0:90:0"), "--rotation: the step must lead from the first to the last"),
    ((*MOVE, *FEW, "--class", "1"), "each image has one class, got 1 for 2 images"),
    ((*MOVE, *FEW, "--layers", "relu9"), "SmallNet has no layer 'relu9'"),
]


@pytest.mark.parametrize(("arguments", "text"), BAD, ids=[text[:40] for _, text in BAD])
def test_bad_input_is_one_clear_line_and_exit_code_2(
    workplace: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], text: str
) -> None:
    check_refused(capsys, arguments, text)
