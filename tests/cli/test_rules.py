"""`backlight rules`: the picture that it writes, and bad input in one clear line."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from cli.running import MODEL, check_refused, run


def test_an_atlas_is_compared_with_other_rules(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("figure", "a.atlas", "relu2", "-o", "own.png") == 0
    capsys.readouterr()
    arguments = ("rules", "a.atlas", MODEL, "--layer", "relu2", "-o", "c.png")
    assert run(*arguments) == 0
    width, height = Image.open("c.png").size
    assert f"c.png ({width}x{height})" in capsys.readouterr().out
    assert width > Image.open("own.png").width
    assert run(*arguments, "--rules", "guided", "--rules", "gradient") == 0
    assert Image.open("c.png").width > width


BAD = [
    (("rules", "gone.atlas", "-o", "f.png"), "no atlas at 'gone.atlas'; `backlight build"),
    (("rules", "a.atlas", MODEL, "-o", "f.tga"), "a figure is written as .png, .webp, .pdf, .svg or .jpg"),
    (("rules", "a.atlas", MODEL, "-o", "f.png", "--channels", "x"),
     "--channels is a list such as 3,17,40 or 0-31, got 'x'"),
    (("rules", "a.atlas", MODEL, "-o", "f.png", "--rules", "deconvnet"), "name another rule set"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "text"), BAD, ids=[" ".join(a)[:60] for a, _ in BAD])
def test_bad_input_is_one_clear_line_and_exit_code_2(
    built: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], text: str
) -> None:
    check_refused(capsys, arguments, text)
