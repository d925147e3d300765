"""`backlight superpose`: bad input in one clear line."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.running import check_refused

BAD = [
    (("superpose", "mine.py:make", "pictures/a/000.png", "-o", "p.png"), "--layer names the layer"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "text"), BAD, ids=[" ".join(a)[:60] for a, _ in BAD])
def test_bad_input_is_one_clear_line_and_exit_code_2(
    workplace: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], text: str
) -> None:
    check_refused(capsys, arguments, text)
