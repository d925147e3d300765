"""`backlight figure`: bad input in one clear line."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.running import check_refused

BAD = [
    (("figure", "gone.atlas", "relu1", "-o", "f.png"), "no atlas at 'gone.atlas'; `backlight build"),
    (("figure", "mine.py", "relu1", "-o", "f.png"), "'mine.py' exists and is not an atlas"),
    (("figure", "mine.py", "relu1", "-o", "f.tga"), "a picture is written as .png, .jpg or .webp"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "text"), BAD, ids=[" ".join(a)[:60] for a, _ in BAD])
def test_bad_input_is_one_clear_line_and_exit_code_2(
    workplace: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], text: str
) -> None:
    check_refused(capsys, arguments, text)
