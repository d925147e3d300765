"""Contexts: pages show every field of them, and each says what it is."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path

import pytest

from backlight.web import contexts

WEB = Path(contexts.__file__).parents[1]
RECORDS = [own for _, own in inspect.getmembers(contexts, dataclasses.is_dataclass)]
SHOWN = "\n".join(
    path.read_text("utf-8") for path in (*sorted((WEB / "templates").glob("*.html")), WEB / "site.py")
)
# what a twin is for: programs that want the numbers behind a picture
FOR_PROGRAMS = {
    "row",
    "col",
    "image_id",
    "operator",
    "mean",
    "tile",
    "version",
    "count",
    "id",
    "files",
    "number",
}


@pytest.mark.parametrize("record", RECORDS, ids=lambda own: own.__name__)
def test_every_field_is_described_and_shown(record: type) -> None:
    assert record.__dataclass_params__.frozen  # type: ignore[attr-defined]
    described = re.findall(r"^    (\w+):", inspect.getdoc(record) or "", re.M)
    names = [field.name for field in dataclasses.fields(record)]
    assert described == names
    unseen = [name for name in names if not re.search(rf"\.{name}\b|\"{name}\"", SHOWN)]
    assert set(unseen) <= FOR_PROGRAMS, record


def test_templates_read_nothing_that_is_not_there() -> None:
    known = {field.name for record in RECORDS for field in dataclasses.fields(record)}
    read = set(
        re.findall(r"\b(?:x|y|v|c|h|u|b|e|o|l|s|site|layer|card)\.(\w+)", SHOWN.partition('"""A site')[0])
    )
    # methods of what Jinja gives, and of the site itself
    assert read - known <= {"items", "i", "index0", "index", "last", "first"}
