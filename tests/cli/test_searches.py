"""The searches of `backlight invert`: each is kept as soon as it is found."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from backlight.cli import searches as command
from backlight.inversion import Inversion
from backlight.network import Network
from cli.running import invert, picture


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
