"""`backlight faithfulness`: what it writes, keeps in the atlas and prints, and bad input in one clear line."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from PIL import Image

import backlight
from backlight.storage import locked
from cli.running import BUILD, MODEL, STUDY, run


def test_faithfulness_needs_no_more_than_the_atlas_and_its_model(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*BUILD, "--maps", "3") == 0
    assert run("figure", "a.atlas", "relu2", "-o", "before.png") == 0
    capsys.readouterr()
    assert run("faithfulness", "a.atlas", MODEL, *STUDY, "-o", "f.png", "--save", "numbers") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "each covered in 1 ways by three rule sets, these turned, and 5 more controls" in printed
    assert "layer deconvnet guided gradient turned centre random gain over turned relu1" in printed
    assert (
        "deconvnet projections, beside turned, centre, random, sobel, other map, other image: relu1:"
        in printed
    )
    assert Image.open("f.png").width > 300
    assert Path("numbers.json").exists()
    assert Path("numbers.npz").exists()
    evidence = backlight.open_atlas("a.atlas")["relu2"].evidence
    assert evidence is not None
    assert evidence.n == 2
    assert run("figure", "a.atlas", "relu2", "-o", "after.png") == 0
    assert Image.open("after.png").height > Image.open("before.png").height


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--fills", "pink"), "a fill is mean, blur, noise, got 'pink'"),
        (("--shares", "many"), "--shares is a list of percentages such as 5,20, got 'many'"),
        (("--maps", "some"), "--maps is a number or all, got 'some'"),
        (("-o", "f.gif"), "a figure is written as .png, .webp, .pdf, .svg or .jpg, got 'f.gif'"),
        (("--save", "nowhere/f"), "no such folder: 'nowhere'; make it first"),
        (("--layers", "relu9"), "a.atlas has no layer 'relu9'; it has relu1, relu2"),
    ],
)
def test_bad_input_to_faithfulness_is_one_line(
    built: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert run("faithfulness", "a.atlas", MODEL, *arguments) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line


def test_a_stopped_study_of_faithfulness_keeps_its_layers_and_goes_on(
    built: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = backlight.studies.faithfulness
    by_layer = command.run_by_layer

    def stopped(*arguments: object, **named: object) -> Iterator[object]:
        yield next(iter(by_layer(*arguments, **named)))
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "run_by_layer", stopped)
    assert run("faithfulness", "a.atlas", MODEL, *STUDY) == 130
    assert "stopped; finished steps are kept" in capsys.readouterr().err
    kept = backlight.open_atlas("a.atlas")
    assert kept["relu1"].evidence is not None
    assert kept["relu2"].evidence is None
    monkeypatch.setattr(command, "run_by_layer", by_layer)
    assert run("faithfulness", "a.atlas", MODEL, *STUDY) == 0
    assert backlight.open_atlas("a.atlas")["relu2"].evidence is not None


def test_a_study_that_keeps_evidence_waits_for_no_build(
    built: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("backlight.storage.locking.PATIENCE_S", 0.0)
    monkeypatch.setattr(
        backlight.studies.faithfulness, "run_by_layer", lambda *_: pytest.fail("work was done")
    )
    with (  # held by another thread, as by another process
        ThreadPoolExecutor(1) as pool,
        ExitStack() as held,
    ):
        pool.submit(held.enter_context, locked("a.atlas")).result()
        assert run("faithfulness", "a.atlas", MODEL, *STUDY) == 2
    assert "error: 'a.atlas' is being written by process" in capsys.readouterr().err
