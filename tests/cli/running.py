"""Running commands in a test."""

from __future__ import annotations

from pathlib import Path

import pytest

from backlight.cli import main

BUILD = ("build", "mine.py:make", "pictures", "-o", "a.atlas", "--weights", "w.safetensors", "--size", "32")
MODEL = "mine.py:make"  # code: an atlas cannot start it, it is named each time
STUDY = ("--maps", "2", "--hits", "2", "--shares", "20", "--fills", "mean")
"""What makes `backlight faithfulness` quick."""


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    return int(stopped.value.code or 0)


def invert(*arguments: str) -> int:
    return run("invert", MODEL, *arguments, "--weights", "w.safetensors", "--size", "32")


def picture() -> str:
    return str(sorted(Path("pictures").rglob("*.png"))[0])


def check_refused(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], text: str) -> None:
    """Check that a command ends in one clear line and with exit code 2, and leaves the weights as they were."""
    Path("empty").mkdir()
    before = Path("w.pt").read_bytes()
    assert run(*arguments) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("note:")]
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    assert text in lines[0]
    assert Path("w.pt").read_bytes() == before
