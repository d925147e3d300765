import doctest
import importlib

import pytest

MODULES = ["figure", "filters", "overlay", "page", "scaling", "text", "tiles"]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_the_docstrings_run(name):
    module = importlib.import_module(f"backlight.render.{name}")
    assert doctest.testmod(module).failed == 0
