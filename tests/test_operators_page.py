"""The page of all operators says what their entries say."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from backlight.operators import rectifiers
from backlight.operators.adjoint import PASS_ON
from backlight.operators.operator import Operator, OperatorClass
from backlight.operators.table import FAMILIES

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("make_operators", DOCS / "make_operators.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["make_operators"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["make_operators"]


def page_with(script: ModuleType, entry: Operator, family: ModuleType = rectifiers) -> str:
    """Return the page for a table in which an entry stands in the place of a family's first."""
    changed = ModuleType(family.__name__, family.__doc__)
    changed.OPERATORS = (entry, *family.OPERATORS[1:])
    families = [changed if own is family else own for own in FAMILIES]
    return script.page(script.saved_zoos(), families)


def test_the_page_is_what_the_entries_say(script):
    said = "docs/operators.md is not what the entries say: run `python docs/make_operators.py`"
    assert (DOCS / "operators.md").read_text() == script.page(script.saved_zoos()), said


@pytest.mark.parametrize(
    "change",
    [
        {"names": ("relu", "relu_")},
        {"kind": OperatorClass.LINEAR},
        {"field": None},
        {"rule": None},
        {"adjoint": PASS_ON},
        {"is_local": None},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_change_of_an_entry_changes_the_page(script, change):
    (entry, *_) = rectifiers.OPERATORS
    assert page_with(script, entry) == script.page(script.saved_zoos())
    assert page_with(script, replace(entry, **change)) != script.page(script.saved_zoos())


def test_every_operator_has_one_row(script):
    rows = [line for line in script.page(script.saved_zoos()).splitlines() if line.startswith("| `")]
    first_cells = [line.split(" | ")[0].removeprefix("| ") for line in rows]
    shown = [name.strip("`") for cell in first_cells for name in cell.split(", ")]
    names = [
        script.name_of(name) for family in FAMILIES for entry in family.OPERATORS for name in entry.names
    ]
    assert sorted(shown) == sorted(names)


def test_a_rule_without_a_docstring_is_refused(script):
    (entry, *_) = rectifiers.OPERATORS

    def rule(at):
        return None

    with pytest.raises(ValueError, match="rule needs a docstring"):
        page_with(script, replace(entry, rule=rule))


def test_models_are_named_first_and_then_counted(script):
    zoos = script.Zoos({}, {"a": ["relu"], "b": ["conv2d"], "c": ["relu", "gelu"], "d": ["relu"]})
    assert zoos.having(["relu"]) == "a, c and 1 other"
    assert zoos.having(["gelu", "conv2d"]) == "b and c"
    assert zoos.having(["gelu"]) == "c"
    assert zoos.having(["tanh"]) == "none"
    assert zoos.without_entry(FAMILIES) == []
