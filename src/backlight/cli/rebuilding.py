"""The command that an atlas was built by, from what it was given, so that it can be read and run again."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from shlex import join

from backlight.cli.build import build
from backlight.cli.planning import DECIDING

_FLAGS = {"value_range": "--range"}
_SWITCHES = {("bands", "True"): "--bands", ("wholes", "False"): "--no-wholes"}


def build_command(origin: Mapping[str, str | None], atlas: Path) -> tuple[str, bool]:
    """Return the command that an atlas was built by, quoted for a shell; empty for a build from Python.

    Options that are as they are by default are left out.

    Args:
        origin: What the atlas keeps; it may come from anybody.
        atlas: Where it is now, which the command names.

    Returns:
        The command, and whether it has all options: atlases of earlier versions do not keep them.
    """
    model, images, weights = (origin.get(key) for key in ("model", "images", "weights"))
    if model is None or images is None:
        return "", False
    words = ["backlight", "build", model, images, "-o", atlas.name]
    words += ["--weights", weights] if weights else []
    defaults = inspect.signature(build).parameters
    for name in DECIDING:
        value = origin.get(name)
        if value is None or value == str(defaults[name].default):
            continue
        if name in ("bands", "wholes"):
            words += [_SWITCHES[name, value]] if (name, value) in _SWITCHES else []
        else:
            words += [_FLAGS.get(name, f"--{name.replace('_', '-')}"), value]
    return join(words), set(DECIDING) <= set(origin)
