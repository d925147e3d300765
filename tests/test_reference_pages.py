"""The reference that is written from the program has every name, every command and option, and every table."""

from __future__ import annotations

import importlib.util
import re
import sqlite3
from pathlib import Path
from types import ModuleType

import pytest

import backlight
from backlight.atlas import schema
from backlight.cli.reference import reference
from replicas.commands import command_helps

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference_pages", DOCS / "reference_pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pages(script: ModuleType) -> dict[str, str]:
    return script.pages()


def entries(page: str) -> set[str]:
    return set(re.findall(r"^\.\. (?:auto\w+|py:data):: (?:[\w.]+\.)?(\w+)$", page, re.MULTILINE))


def test_every_door_has_one_entry(pages: dict[str, str]) -> None:
    doors = {name for name in backlight.__all__ if not name.startswith("_")}
    assert entries(pages["backlight.rst"]) == doors


@pytest.mark.parametrize(
    "room", ["images", "atlas", "inversion", "adaptive", "projection", "studies.sanity", "studies.evolution"]
)
def test_every_public_name_of_a_room_has_an_entry_there_or_a_link(pages: dict[str, str], room: str) -> None:
    module = importlib.import_module(f"backlight.{room}")
    page = pages[f"{room}.rst"]
    linked = set(re.findall(r":py:obj:`~backlight\.(\w+)`", page))
    assert entries(page) | linked == set(module.__all__)
    assert not entries(page) & linked


def test_every_study_has_a_page(script: ModuleType) -> None:
    studies = {path.parent.name for path in Path(backlight.studies.__file__).parent.glob("*/run.py")}
    assert set(script.STUDIES) == studies


def test_constants_say_what_they_are(script: ModuleType, pages: dict[str, str]) -> None:
    assert script.origin("backlight", "DECONVNET") == "backlight.operators.ruleset"
    assert script.origin("backlight.inversion", "RECIPES") == "backlight.inversion.recipes"
    assert "rectify the signal, not by the forward mask" in pages["backlight.rst"]


def test_every_command_and_every_option_is_there(pages: dict[str, str]) -> None:
    page = pages["commands.md"]
    sections = dict(re.findall(r"^### backlight ([\w -]+)\n(.*?)(?=^##|\Z)", page, re.DOTALL | re.MULTILINE))
    assert set(sections) == set(command_helps())
    for command in reference():
        for own in (*command.arguments, *command.options):
            assert f"`{own.typed}`\n" in sections[command.name]
    assert "`-o, --output PATH`\n: The atlas to write, or to resume. *Required.*" in sections["build"]
    assert "Default: `16`" in sections["build"]
    assert "For `--rules` best" in sections["build"]
    assert "MODEL\\#backbone" in sections["build"]


def test_every_table_and_column_is_there(script: ModuleType, pages: dict[str, str]) -> None:
    connection = sqlite3.connect(":memory:")
    connection.executescript(schema._ALL)
    names = [
        n for (n,) in connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
    ]
    assert set(names) <= set(script.TABLES)
    sections = dict(
        re.findall(
            r"^### (?:The view )?(\w+)\n(.*?)(?=^### )", pages["atlas-file.md"], re.DOTALL | re.MULTILINE
        )
    )
    for name in names:
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({name})")]
        assert re.findall(r"^\| `(\w+)` ", sections[name], re.MULTILINE) == columns
    assert f"now {schema.FORMAT_VERSION};" in pages["atlas-file.md"]


def test_pages_that_did_not_change_are_not_written_again(script: ModuleType, tmp_path: Path) -> None:
    script.write_all(tmp_path)
    first = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    script.write_all(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == first
    (some,) = tmp_path.glob("commands.md")
    some.write_text("old", "utf-8")
    script.write_all(tmp_path)
    assert some.read_text("utf-8") == script.commands_page()
