"""The README tells the truth: its code runs, its commands and files exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from replicas.commands import command_helps, program_help

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()


def test_the_python_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(code, names)
    assert tuple(names["pictures"].shape) == (4, 3, 227, 227)  # type: ignore[attr-defined]
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_every_command_is_in_the_table_and_every_one_in_the_table_exists() -> None:
    in_table = set(re.findall(r"^\| `backlight ((?:adaptive )?[\w-]+)", TEXT, re.MULTILINE))
    assert in_table == set(command_helps())


def test_every_flag_that_the_readme_names_exists() -> None:
    help_texts = "".join([program_help(), *command_helps().values()])
    flags = set(re.findall(r"(--[a-z][a-z-]+)", TEXT))
    assert flags
    assert {flag for flag in flags if flag not in help_texts} == set()


def test_every_link_leads_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", TEXT) if "://" not in link]
    assert len(links) >= 5
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_first_screen_shows_the_two_commands() -> None:
    assert re.findall(r"^make \w+", "\n".join(TEXT.splitlines()[:20]), re.MULTILINE) == [
        "make demo",
        "make test",
    ]
