"""Refitted and shrunk values on the command line: `fit` prints what its file gives, `show` draws those asked for."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from backlight import open_images
from backlight.adaptive import (
    AdaptiveConfig,
    AdaptiveDeconvNet,
    Block,
    CodeValues,
    LayerConfig,
    prepare_all,
    reconstruction_picture,
)
from cli.running import run

FIT = ("adaptive", "fit", "pictures", "-o", "m.adn", "--preset", "small", "--size", "28", "--epochs", "2")
LINE = (
    r"layer (\d): relative error ([\d.]+)% on these images \(([\d.]+)% with --values shrunk\), ([\d.]+)% of"
)
LIVELY = AdaptiveConfig(
    tuple(LayerConfig(4, filter=3, block=block, weight=20.0) for block in (Block(2, 2, 2), Block(2, 2, 1))),
    size=(24, 28),
)


@pytest.fixture(autouse=True)
def _here(workplace: Path) -> None:
    """Work beside 12 pictures."""


def test_the_error_that_fit_prints_is_that_of_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*FIT) == 0
    found = re.findall(LINE, " ".join(capsys.readouterr().out.split()))
    assert [int(own[0]) for own in found] == [1, 2]
    net, source = AdaptiveDeconvNet.load("m.adn"), open_images("pictures")
    images = torch.from_numpy(prepare_all(net.config, source, range(len(source)), 1 << 30).array)
    for column, values in ((1, "refitted"), (2, "shrunk")):
        codes = net.infer(images, values=values)
        for own in found:
            rest = net.reconstruct(codes, int(own[0])) - images
            assert own[column] == f"{100 * float(rest.norm() / images.norm()):.1f}"
            assert own[3] == f"{100 * float(codes[int(own[0])].active_share.mean()):.2f}"
    assert float(found[0][1]) < float(found[0][2])


@pytest.mark.parametrize("values", ["refitted", "shrunk"])
def test_show_draws_the_values_asked_for(values: CodeValues) -> None:
    torch.manual_seed(0)
    net = AdaptiveDeconvNet(LIVELY, seed=1)
    net.estimate_norms(torch.randn(4, 1, *LIVELY.size))
    net.save("m.adn")
    picture = Path("pictures/b/001.png")
    command = ("adaptive", "show", "m.adn", "pictures", "-o", "out", "--image", str(picture))
    assert run(*command, *(() if values == "refitted" else ("--values", values))) == 0
    images = net.prepare([picture])
    drawn = {
        own: np.asarray(reconstruction_picture(net, images, net.infer(images, values=own), ["001.png"]))
        for own in ("refitted", "shrunk")
    }
    with Image.open("out/reconstructions.png") as opened:
        found = np.asarray(opened)
    np.testing.assert_array_equal(found, drawn.pop(values))
    (other,) = drawn.values()
    assert (found != other).any()


def test_values_that_there_are_not_are_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    AdaptiveDeconvNet(LIVELY).save("m.adn")
    assert run("adaptive", "show", "m.adn", "pictures", "-o", "out", "--values", "published") == 2
    caught = capsys.readouterr()
    assert "--values" in caught.err
    assert "'refitted', 'shrunk'" in caught.err
    assert not Path("out").exists()


def test_help_names_the_flag(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert run("adaptive", "show", "--help") == 0
    assert "--values" in capsys.readouterr().out
