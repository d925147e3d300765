"""`backlight adaptive show`: what it draws and says, and bad input in one clear line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backlight.adaptive import AdaptiveConfig, LayerConfig
from cli.adaptive_nets import LIVELY, NAMES, check_refused, save, written
from cli.running import run


@pytest.fixture(autouse=True)
def _here(workplace: Path) -> None:
    """Work beside 12 pictures."""


def test_show_draws_every_layer_and_pictures_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    save(LIVELY)
    own = ("--image", "pictures/b/001.png", "--image", "pictures/a/002.png")
    assert run("adaptive", "show", "m.adn", "pictures", "-o", "new/out", "--images", "5", *own) == 0
    printed = capsys.readouterr().out
    assert written("new/out") == set(NAMES)
    assert [line.split(":")[0] for line in printed.splitlines()] == [f"new/out/{name}" for name in NAMES]
    assert "001.png by its strongest activations in each layer" in printed
    assert (
        run("adaptive", "show", "m.adn", "pictures", "-o", "more", "--parts", "5", "--maps", "1,2", *own[:2])
        == 0
    )
    two, one = (Image.open(f"{folder}/reconstructions.png") for folder in ("new/out", "more"))
    assert two.height > one.height + 200
    assert Image.open("more/layer1.png").width < Image.open("new/out/layer1.png").width


def test_a_silent_layer_is_left_out_and_named(capsys: pytest.CaptureFixture[str]) -> None:
    save(AdaptiveConfig((*LIVELY.layers[:1], LayerConfig(2, filter=3, weight=1e-9)), size=LIVELY.size))
    assert run("adaptive", "show", "m.adn", "pictures", "-o", "out") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert written() == set(NAMES) - {"layer2.png", "tree.png"}
    assert "layer2.png is left out: none of 2 maps is active in any image" in printed
    assert "layer 2 is left out: nothing in it is active for a/000.png" in printed


SHOW = ("adaptive", "show", "m.adn", "pictures", "-o", "out")
BAD = [
    (("adaptive", "show", "gone.adn", "pictures", "-o", "out"), "no such file: 'gone.adn'; `backlight adaptive fit"),
    (("adaptive", "show", "mine.py", "pictures", "-o", "out"), "'mine.py' is damaged, or not an adaptive network"),
    (("adaptive", "show", "m.adn", "nowhere", "-o", "out"), "no such file or folder: 'nowhere'"),
    (("adaptive", "show", "m.adn", "pictures", "-o", "mine.py"), "'mine.py' is a file; pictures are written"),
    ((*SHOW, "--layers", "1,3"), "--layers is a list of numbers from 1 to 2, such as 1,2, or all, got '1,3'"),
    ((*SHOW, "--layers", "relu1"), "--layers is a list of numbers from 1 to 2"),
    ((*SHOW, "--maps", "some"), "--maps is a number, a list such as 3,17,40 or 0-31, or all, got 'some'"),
    ((*SHOW, "--maps", "2,9"), "map 9 is out of range for layer 1 (4 feature maps, from 0)"),
    ((*SHOW, "--top", "0"), "top, batch and the number of maps must be at least 1"),
    ((*SHOW, "--parts", "0"), "--parts and --branching must be at least 1, got 0 and 5"),
    ((*SHOW, "--image", "gone.png"), "gone.png"),
    ((*SHOW, "--image", "mine.py"), "mine.py"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "text"), BAD, ids=[" ".join(a)[9:69] for a, _ in BAD])
def test_bad_input_is_one_clear_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], text: str
) -> None:
    check_refused(capsys, arguments, text)


def test_pictures_that_cannot_be_read_are_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    Path("broken").mkdir()
    for name in ("a.png", "b.png"):
        Path("broken", name).write_text("none")
    save(LIVELY)
    assert run("adaptive", "show", "m.adn", "broken", "-o", "out") == 2
    assert "none of the 2 images of 'broken' can be read" in capsys.readouterr().err


def test_help_names_every_flag(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert run("adaptive", "show", "--help") == 0
    text = capsys.readouterr().out
    words = ("--layers", "--maps", "--top", "--image", "--parts", "--branching", "--device")
    assert [word for word in words if word not in text] == []


def test_what_is_drawn_does_not_depend_on_the_batch() -> None:
    save(LIVELY)
    for batch in ("1", "5"):
        assert run("adaptive", "show", "m.adn", "pictures", "-o", batch, "--batch", batch) == 0
    for name in NAMES:
        one, five = (np.asarray(Image.open(Path(batch, name)), np.int16) for batch in ("1", "5"))
        assert np.abs(one - five).max() <= 1
