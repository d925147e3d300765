"""`backlight invert`: what it writes, says and keeps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backlight.inversion import Inversion, InversionConfig
from cli.running import invert, picture


def test_layers_of_one_image(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = invert(
        picture(),
        "-o",
        "f.png",
        "--layers",
        "relu1,fc",
        "--photographs",
        "pictures",
        "--animation",
        "f.webp",
        "--save",
        "n",
    )
    assert code == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "relu1: relative error" in printed
    assert "normalised" in printed
    assert "squared form" in printed
    assert "answer" in printed
    assert Image.open("f.png").width > 300
    assert Image.open("f.webp").n_frames > 5  # type: ignore[attr-defined]
    saved = Inversion.load("n-relu1")
    assert saved.layer == "relu1"
    assert saved.spread is not None
    assert saved.spread.n_images == 12
    assert saved.config == InversionConfig(frames=40)
    assert Inversion.load("n-fc").layer == "fc"


def test_a_code_restarts_and_parts(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("code.npy", np.random.default_rng(0).random((8, 16, 16), np.float32))
    options = (
        "--recipe",
        "ijcv2016",
        "--restarts",
        "2",
        "--channels",
        "1,3",
        "--centre",
        "4",
        "--seed",
        "5",
        "--strength",
        "30",
    )
    assert invert("code.npy", "-o", "f.webp", "--layers", "relu1", "--save", "n", *options) == 0
    saved = Inversion.load("n-relu1")
    assert saved.config == InversionConfig("ijcv2016", 30.0, 2, 5, (1, 3), centre=4)
    assert saved.images.shape == (2, 3, 32, 32)
    assert "answer" not in capsys.readouterr().out


def test_maps_are_maximised_and_an_image_caricatured(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        invert("-o", "f.png", "--goal", "maximise", "--layers", "relu2", "--channels", "3,5", "--save", "n")
        == 0
    )
    printed = capsys.readouterr().out
    assert "relu2, map 3 at row 4, column 4: inner product" in printed
    assert Inversion.load("n-relu2-5").goal == "maximise"
    assert invert(picture(), "-o", "g.png", "--goal", "caricature", "--layers", "relu2") == 0
    assert "relu2: inner product" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("-o", "f.png"), "give an IMAGE to invert"),
        (("IMAGE", "-o", "f.png", "--goal", "maximise"), "none with --goal maximise"),
        (("-o", "f.png", "--goal", "maximise", "--layers", "relu2"), "--channels names the feature maps"),
        (("IMAGE", "-o", "f.png", "--layers", "relu9"), "no layer 'relu9'"),
        (
            ("IMAGE", "-o", "f.png", "--layers", "relu1,relu2", "--channels", "9"),
            "channel 9 is out of range for layer 'relu1'",
        ),
        (
            ("IMAGE", "-o", "f.png", "--recipe", "best"),
            "no recipe 'best'; known are default, wide, cvpr2015, ijcv2016",
        ),
        (("IMAGE", "-o", "f.png", "--animation", "way.mp4"), "as .webp or .gif"),
        (("IMAGE", "-o", "f.gif"), "written as .png, .webp, .pdf, .svg or .jpg"),
        (("bad.npy", "-o", "f.png", "--layers", "relu1"), "'bad.npy' is not a NumPy array"),
        (("code.npy", "-o", "f.png"), "activations belong to one layer; name it with --layers"),
        (
            ("code.npy", "-o", "f.png", "--layers", "relu1"),
            "has the shape 8x16x16, an image 3x32x32, got 2x2",
        ),
        (
            ("code.npy", "-o", "f.png", "--layers", "relu1", "--goal", "caricature"),
            "made of a picture, got activations",
        ),
        (("IMAGE", "-o", "f.png", "--layers", "x"), "layer 'x' is the input itself"),
        (
            ("IMAGE", "-o", "f.png", "--layers", ""),
            "--layers is a list of layer names, or all, got ''",
        ),
        (("empty.npy", "-o", "f.png", "--layers", "relu1"), "'empty.npy' is not a NumPy array"),
        (
            ("-o", "f.png", "--goal", "maximise", "--layers", "relu2,fc", "--channels", "9"),
            "channel 9 is out of range for layer 'fc'",
        ),
        (
            ("IMAGE", "-o", "f.png", "--goal", "caricature", "--layers", "fc", "--photographs", "pictures"),
            "--photographs normalise the error of an inversion",
        ),
        (
            ("IMAGE", "-o", "f.png", "--layers", "fc", "--photographs", "broken"),
            "needs at least 2 pictures that can be read, but 'broken' has 0",
        ),
    ],
)
def test_bad_input_is_one_clear_line(
    workplace: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], text: str
) -> None:
    Path("bad.npy").write_text("no array")
    Path("empty.npy").touch()
    Path("broken").mkdir()
    Path("broken/a.jpg").touch()
    np.save("code.npy", np.ones((2, 2)))
    assert invert(*(picture() if own == "IMAGE" else own for own in arguments)) == 2
    caught = capsys.readouterr()
    assert text in caught.err
    assert caught.err.strip().count("\n") == 0
    assert not Path("f.png").exists()
