"""`backlight invert`: what it writes, says and keeps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backlight.cli import searches as command
from backlight.inversion import Inversion, InversionConfig
from backlight.network import Network
from cli.running import run

MODEL = ("mine.py:make", "--weights", "w.safetensors", "--size", "32")


def invert(*arguments: str) -> int:
    return run("invert", MODEL[0], *arguments, *MODEL[1:])


def picture() -> str:
    return str(sorted(Path("pictures").rglob("*.png"))[0])


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


def test_ctrl_c_keeps_what_was_found(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = command.invert_code

    def interrupted(net: Network, *arguments: object) -> Inversion:
        layer, progress = arguments[1], arguments[-1]

        def tell(phase: str, done: int, total: int) -> None:
            progress(phase, done, total)  # type: ignore[operator]
            if layer == "relu2" and done == 5:
                raise KeyboardInterrupt

        return plain(net, *arguments[:-1], tell)  # type: ignore[arg-type]

    monkeypatch.setattr(command, "invert_code", interrupted)
    assert invert(picture(), "-o", "f.png", "--layers", "relu1,relu2,fc", "--save", "n") == 130
    caught = capsys.readouterr()
    assert "5 steps, interrupted" in caught.out
    assert "the best so far is kept" in " ".join(caught.err.split())
    assert Inversion.load("n-relu2").curves.shape[1] == 5
    assert not Path("n-fc.json").exists()
    assert Image.open("f.png").width > 300


def test_ctrl_c_between_two_searches_keeps_what_was_found(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = command.invert_code

    def interrupted(net: Network, given: object, layer: str, *arguments: object) -> Inversion:
        if layer == at:
            raise KeyboardInterrupt
        return plain(net, given, layer, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(command, "invert_code", interrupted)
    at = "relu1"
    assert invert(picture(), "-o", "f.png", "--layers", "relu1,fc") == 130
    assert "nothing was written" in " ".join(capsys.readouterr().err.split())
    assert not Path("f.png").exists()
    at = "fc"
    assert invert(picture(), "-o", "f.png", "--layers", "relu1,fc") == 130
    caught = capsys.readouterr()
    assert "relu1: relative error" in caught.out
    assert "the best so far is kept" in " ".join(caught.err.split())
    assert "nothing was written" not in caught.err
    assert Path("f.png").exists()


@pytest.mark.parametrize(
    ("part", "names"),
    [
        (("--centre", "3"), {"relu1", "relu2"}),
        (("--channels", "7"), {"relu1", "relu2"}),
        ((), {"relu1", "relu2", "fc"}),
    ],
)
def test_without_layers_those_that_have_the_part_are_taken(
    part: tuple[str, ...], names: set[str], workplace: Path
) -> None:
    assert invert(picture(), "-o", "f.png", "--save", "n", *part) == 0
    assert {path.stem.removeprefix("n-") for path in Path().glob("n-*.json")} == names


def test_photographs_that_cannot_be_read_are_counted(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("pictures/a-broken.jpg").write_text("no picture")
    assert (
        invert(picture(), "-o", "f.png", "--layers", "relu1", "--save", "n", "--photographs", "pictures") == 0
    )
    assert "1 picture could not be read, the first: a-broken.jpg" in " ".join(capsys.readouterr().out.split())
    spread = Inversion.load("n-relu1").spread
    assert spread is not None
    assert spread.n_images == 12


def test_an_error_in_a_later_layer_loses_nothing(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The maps of relu2 are dead for a code of zeros, which shows only when its turn has come."""
    Image.new("RGB", (32, 32)).save("black.png")
    code = invert("black.png", "-o", "f.png", "--layers", "relu1,relu2", "--channels", "0")
    caught = capsys.readouterr()
    assert (code == 2) == ("are all zero" in caught.err)
    assert ("relu1: relative error" in caught.out) == Path("f.png").exists()


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
            "no recipe 'best'; known are default, cvpr2015, ijcv2016",
        ),
        (("IMAGE", "-o", "f.png", "--animation", "way.mp4"), "as .webp or .gif"),
        (("IMAGE", "-o", "f.pdf"), "written as .png, .jpg or .webp"),
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
