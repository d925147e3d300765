"""The commands of the studies: what each writes, keeps and prints, and bad input in one clear line."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

import backlight
from cli.running import BUILD, run

QUICK = ("--maps", "2", "--hits", "2", "--shares", "20", "--fills", "mean")


def test_faithfulness_needs_no_more_than_the_atlas(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*BUILD, "--maps", "3") == 0
    assert run("figure", "a.atlas", "relu2", "-o", "before.png") == 0
    capsys.readouterr()
    assert run("faithfulness", "a.atlas", *QUICK, "-o", "f.png", "--save", "numbers") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "lost when covered layer deconvnet guided gradient centre random relu1" in printed
    assert "deconvnet projections, beside random, centre, sobel, other map, other image: relu1:" in printed
    assert Image.open("f.png").width > 300
    assert Path("numbers.json").exists()
    assert Path("numbers.npz").exists()
    evidence = backlight.open_atlas("a.atlas")["relu2"].evidence
    assert evidence is not None
    assert evidence.n == 2
    assert run("figure", "a.atlas", "relu2", "-o", "after.png") == 0
    assert Image.open("after.png").height > Image.open("before.png").height


def test_an_atlas_built_from_python_is_told_its_model_and_images(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*BUILD, "--maps", "2", "--layers", "relu2") == 0
    Path("elsewhere").mkdir()
    Path("a.atlas").rename("elsewhere/a.atlas")
    Path("pictures").rename("moved")
    assert run("faithfulness", "elsewhere/a.atlas", *QUICK) == 2
    assert "was built from mine.py:make and pictures: go to the folder" in capsys.readouterr().err
    told = ("faithfulness", "elsewhere/a.atlas", "mine.py:make", "moved", "--weights", "w.safetensors")
    assert run(*told, *QUICK) == 0
    assert backlight.open_atlas("elsewhere/a.atlas")["relu2"].evidence is not None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--fills", "pink"), "a fill is mean, blur, noise, but came 'pink'"),
        (("--shares", "many"), "--shares is a list of percents such as 5,20, but came 'many'"),
        (("--maps", "some"), "--maps is a number or all, but came 'some'"),
        (("-o", "f.gif"), "a figure is written as .png, .pdf or .svg, but came 'f.gif'"),
        (("--save", "nowhere/f"), "no such folder: 'nowhere'; make it first"),
        (("--layers", "relu9"), "a.atlas has no layer 'relu9'; it has relu1, relu2"),
    ],
)
def test_bad_input_to_faithfulness_is_one_line(
    workplace: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert run(*BUILD, "--maps", "2") == 0
    capsys.readouterr()
    assert run("faithfulness", "a.atlas", *arguments) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line
