"""Running a command in a test."""

from __future__ import annotations

import pytest

from backlight.cli import main


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    return int(stopped.value.code or 0)


BUILD = ("build", "mine.py:make", "pictures", "-o", "a.atlas", "--weights", "w.safetensors", "--size", "32")
