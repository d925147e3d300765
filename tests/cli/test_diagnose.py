"""`backlight diagnose`: what it prints and writes, and when it fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from backlight.studies.diagnosis import Diagnosis
from cli.running import BUILD, MODEL, run

COMMAND = ("diagnose", MODEL, "pictures", "--weights", "w.safetensors", "--size", "32")


def test_diagnose_prints_a_report_and_writes_it(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*COMMAND, "-o", "d.png", "--save", "d", "--json", "report.json") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "things in 2 layers over 12 images" in printed
    assert "could not be looked for" in printed
    assert (
        "12 images cannot tell a map that is silent from one above zero in 5% of images; give at least 59"
        in printed
    )
    assert Image.open("d.png").width > 300
    report = json.loads(Path("report.json").read_text())
    assert report["n_images"] == 12
    assert report["summary"] == Diagnosis.load("d").summary()
    assert {"kind", "layer", "reason"} == set(report["could_not_be_looked_for"][0])


def test_a_broken_bound_fails_with_a_line(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*COMMAND, "--fail-on", "loud>0.9") == 0
    capsys.readouterr()
    assert run(*COMMAND, "--fail-on", "loud>0.9", "--fail-on", "dead>0") == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("failed:")]
    assert len(lines) == 1
    assert "dead>0 cannot be checked: 12 images cannot tell" in lines[0]


def test_a_malformed_bound_is_refused_before_any_work(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("diagnose", "no.such:model", "nowhere", "--fail-on", "dead=0.2") == 2
    assert "a kind of finding and a share of the feature maps, such as 'dead>0.2'" in capsys.readouterr().err


def test_an_atlas_alone_says_what_needs_the_model(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*BUILD) == 0
    capsys.readouterr()
    assert run("diagnose", "a.atlas", "--save", "d") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "aliasing: an atlas does not tell; give the model and images" in printed
    assert Diagnosis.load("d").n_images == 12
    assert run("diagnose", "demo") == 2
    assert "takes a model and images, or an atlas (.atlas); got 'demo' alone" in capsys.readouterr().err


def test_what_can_be_put_right_is_tried_and_saved(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = load_file("w.safetensors")
    for name in [own for own in state if own.startswith("conv1.")]:
        state[name][2] = 0  # the filter and the bias of a map
    save_file(state, "dead.safetensors")
    command = [{"w.safetensors": "dead.safetensors"}.get(word, word) for word in COMMAND]
    assert run(*command, "--layers", "relu1", "--try", "--changed", "changed", "--json", "report.json") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "dead map in relu1: delete: 1 of 8 maps of 'relu1' deleted" in printed
    assert "12 images" in printed
    tried = json.loads(Path("report.json").read_text())["tried"]
    (own,) = (row for row in tried["remedies"] if row["remedy"] == "dead map in relu1: delete")
    assert (own["is_done"], own["change"]) == (True, 0)
    saved = torch.load("changed/dead-map-in-relu1-delete.pt", weights_only=True)
    assert saved["conv1.weight"].shape[0] == 7


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("diagnose", "a.atlas", "--try"), "an atlas has not; give MODEL IMAGES"),
        ((*COMMAND, "--changed", "x"), "add --try"),
    ],
)
def test_trying_needs_a_model(
    workplace: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], says: str
) -> None:
    assert run(*words) == 2
    assert says in " ".join(capsys.readouterr().err.split())


def test_fields_are_compared_with_the_size_of_objects(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = sorted(Path("pictures").rglob("*.png"))[0]
    size = Image.open(picture).size[::-1]
    marked = {"images": {str(picture): {"all of it": [0, 0, *size]}}}
    Path("boxes.json").write_text(json.dumps(marked))
    assert run(*COMMAND, "--boxes", "boxes.json", "--save", "d") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "no boxes are given" not in printed
    fields = [own for own in Diagnosis.load("d").of("field") if "objects are larger" in own.says]
    last = Diagnosis.load("d").layers[-1]
    # a picture is larger than what a unit of the last layer sees
    assert [own.layer for own in fields] == [last]
    assert fields[0].value == 1
    assert run("diagnose", "a.atlas", "--boxes", "boxes.json") == 2
    assert "give MODEL IMAGES" in capsys.readouterr().err
