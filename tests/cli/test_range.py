"""Pictures of 12 bits in 16-bit files, from the command line: what is said, what is kept, what is drawn."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import backlight
from backlight.atlas import open_atlas
from backlight.images import Preprocessing
from backlight.projection import activations, strongest_units
from cli.running import BUILD, run
from conftest import SmallNet

RANGE = ("--range", "0,4095")
FEW = (*BUILD, "--maps", "2", "--top", "2", "--layers", "relu2")


@pytest.fixture
def deep(workplace: Path) -> Path:
    """Return the workplace with its pictures turned into 12-bit grey in 16-bit files."""
    for path in (workplace / "pictures").rglob("*.png"):
        grey = np.asarray(Image.open(path).convert("L"), np.uint16)
        Image.fromarray(grey * 16).save(path)
    return workplace


def small(value_range: tuple[float, float] | None, resize: int = 32) -> backlight.Network:
    torch.manual_seed(0)
    preprocessing = Preprocessing(resize, (32, 32), (0.0,) * 3, (1.0,) * 3, range=value_range)
    return backlight.capture(SmallNet(), (3, 32, 32), preprocessing)


def test_a_build_tells_once_which_flag_to_give(deep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*FEW, "--batch-size", "4") == 0
    told = " ".join(capsys.readouterr().err.split())
    assert told.count("note:") == 1, told
    assert re.search(
        r"note: nearly all values of 4 pictures lie in .* 0 to 65535 .* give --range 0,4095", told
    )


def test_a_range_is_kept_in_the_atlas_and_drawn(deep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*FEW, *RANGE) == 0
    assert "note:" not in capsys.readouterr().err
    atlas = open_atlas("a.atlas")
    assert atlas.preprocessing.range == (0, 4095)
    channel = atlas["relu2"].channels[0]
    hit = atlas["relu2"][channel].hits[0]
    assert np.asarray(hit.patch).max() > 100, "the patch is black"
    net = small((0, 4095), resize=37)
    inputs = net.preprocessing.batch(sorted(Path("pictures").rglob("*.png")))  # type: ignore[union-attr]
    values = activations(net, inputs, net.layer("relu2"))[:, channel].flatten(1).amax(1)
    assert hit.value == pytest.approx(float(values.max()), rel=1e-4)
    assert run(*FEW) == 2
    assert "preprocessing" in capsys.readouterr().err


def test_values_outside_are_told(deep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shared = ("--weights", "w.safetensors", "--size", "32", "--layer", "relu2", "-o", "p.png")
    assert run("project", "mine.py:make", "pictures/a/000.png", *shared, "--range", "1000,2000") == 0
    told = " ".join(capsys.readouterr().err.split())
    assert told.count("note:") == 1, told
    assert "values outside of the range 1000 to 2000 in 1 picture" in told


@pytest.mark.parametrize("text", ["5", "1,2,3", "a,b", "7,7", "9,1", "0,nan", ""])
def test_ranges_that_cannot_be(text: str, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("layers", "mine.py:make", "--size", "32", "--range", text) == 2
    assert "--range is two numbers LOW,HIGH, the lower first, such as 0,4095" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["project", "superpose"])
def test_the_unit_is_taken_from_the_input_not_from_a_picture_cropped_twice(
    command: str, workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a resize that is larger than the crop, a second preprocessing would magnify the picture."""
    given: list[torch.Tensor] = []
    prepare = backlight.Network.prepare
    monkeypatch.setattr(
        backlight.Network, "prepare", lambda net, images: given.append(images) or prepare(net, images)
    )
    image = "pictures/a/000.png"
    arguments = (
        "--weights",
        "w.safetensors",
        "--size",
        "32",
        "--resize",
        "40",
        "--layer",
        "relu2",
        "-o",
        "p.png",
    )
    assert run(command, "mine.py:make", image, *arguments) == 0
    net = small(None, resize=40)
    expected = net.preprocessing.tensor(image)  # type: ignore[union-attr]
    assert given
    assert all(torch.equal(own.reshape(expected.shape), expected) for own in given)
    if command == "project":
        (unit,) = strongest_units(net, expected, "relu2", 1)
        assert f"channel {unit.channel}, row {unit.row}, column {unit.col}," in capsys.readouterr().out
