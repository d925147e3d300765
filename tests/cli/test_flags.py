"""Flags say what the library says."""

from __future__ import annotations

from typing import get_args

from backlight.cli import build, flags


def test_flags_say_what_the_library_says() -> None:
    """They are written twice, since the library cannot be asked without importing PyTorch."""
    from backlight.models import FORMS
    from backlight.scan import Compile
    from backlight.scan.compiling import MIN_IMAGES

    assert flags.MODEL_FORMS == FORMS
    assert get_args(build.Compile) == get_args(Compile)
    assert build.COMPILED_FROM == MIN_IMAGES
