"""Every example in a docstring runs and gives what it says; every public function of the package has one."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
from types import ModuleType

import pytest

import backlight

MODULES = sorted(m.name for m in pkgutil.walk_packages(backlight.__path__, "backlight."))
# What needs a file or a folder first is shown in the README, whose code runs in test_readme.py.
SHOWN_IN_README = {"build", "open_atlas", "open_images"}


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    module: ModuleType = importlib.import_module(name)
    failed, _ = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert failed == 0


def test_every_public_function_has_an_example() -> None:
    functions = {n: v for n in backlight.__all__ if inspect.isfunction(v := getattr(backlight, n))}
    without = {n for n, f in functions.items() if ">>>" not in (f.__doc__ or "")}
    assert without <= SHOWN_IN_README
