"""`backlight superpose`: the picture that it writes of an atlas, and bad input in one clear line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import backlight
from cli.running import check_refused, run
from fuzz.tiny import make_tiny_atlas


def test_the_number_of_hits_that_are_added_can_be_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_tiny_atlas(Path("t.atlas"))
    for top in (1, 2):
        assert run("superpose", "t.atlas", "3", "-o", "p.png", "--top", str(top)) == 0
        expected = backlight.open_atlas("t.atlas").superposed("3", None, top)
        assert np.array_equal(np.asarray(Image.open("p.png")), np.asarray(expected))
        assert capsys.readouterr().out == f"p.png ({expected.width}x{expected.height})\n"


IMAGE = ("superpose", "mine.py:make", "pictures/a/000.png", "-o", "p.png")
ATLAS = ("superpose", "t.atlas", "3", "-o", "p.png")
BAD = [
    (IMAGE, "--layer names the layer"),
    ((*IMAGE, "--layer", "relu2", "--channels", "1,2"), "--channels takes one feature map, got 1,2"),
    ((*ATLAS, "--layer", "3"), "with an atlas, give the layer after it: ATLAS LAYER"),
    ((*ATLAS, "--seed-value", "1"), "--seed-value 1 needs a model to project with"),
    ((*ATLAS, "--channels", "x"), "--channels is a list such as 3,17,40 or 0-31, got 'x'"),
    (("superpose", "gone.atlas", "3", "-o", "p.png"), "no atlas at 'gone.atlas'"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "text"), BAD, ids=[" ".join(a)[:60] for a, _ in BAD])
def test_bad_input_is_one_clear_line_and_exit_code_2(
    workplace: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], text: str
) -> None:
    make_tiny_atlas(Path("t.atlas"))
    check_refused(capsys, arguments, text)
