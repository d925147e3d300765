import doctest
import importlib
import inspect
import pkgutil

import pytest

from backlight import images

MODULES = [f"backlight.images.{module.name}" for module in pkgutil.iter_modules(images.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name, capsys):
    failed = doctest.testmod(importlib.import_module(name)).failed
    assert failed == 0, capsys.readouterr().out


def test_every_public_name_is_there_and_documented():
    for name in images.__all__:
        public = getattr(images, name)
        if inspect.isclass(public) or inspect.isfunction(public):
            assert public.__doc__, f"{name} has no docstring"
