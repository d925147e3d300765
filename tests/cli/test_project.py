"""`backlight project`: the unit of an image that is projected, and bad input in one clear line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from cli.running import check_refused, run


def test_project_and_superpose_an_image(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shared = ("--weights", "w.safetensors", "--size", "32", "--layer", "relu2", "-o", "p.png")
    images = ("pictures/a/000.png", "pictures/b/001.png")
    assert run("project", "mine.py:make", *images, *shared) == 0
    assert re.search(
        r"000\.png: relu2 channel \d+, row \d, column \d, activation \d", capsys.readouterr().out
    )
    assert (
        run("project", "mine.py:make", images[0], *shared, "--channel", "3", "--row", "2", "--col", "1") == 0
    )
    assert "relu2 channel 3, row 2, column 1" in capsys.readouterr().out
    assert run("superpose", "mine.py:make", images[0], *shared, "--top", "2", "--rules", "guided") == 0
    assert Image.open("p.png").width > 600


UNIT = ("project", "mine.py:make", "pictures/a/000.png", "--layer", "relu1", "-o", "p.png")
SEED = "--seed-value is `activation` or a number such as 1, got 'high'"
BAD = [
    (("project", "mine.py:make", "mine.py", "--layer", "relu1", "-o", "p.png", "--size", "32"), "'mine.py': "),
    ((*UNIT, "--row", "1"), "--channel, --row and --col"),
    ((*UNIT, "--seed-value", "high"), SEED),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "text"), BAD, ids=[" ".join(a)[:60] for a, _ in BAD])
def test_bad_input_is_one_clear_line_and_exit_code_2(
    workplace: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], text: str
) -> None:
    check_refused(capsys, arguments, text)
