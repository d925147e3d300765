"""Help: in groups, in 80 columns, without what Typer's releases put around names."""

from __future__ import annotations

import re

import pytest
import typer
from rich.console import Console

from backlight.cli.commands import Commands
from backlight.cli.described import Described
from backlight.cli.helping import write_list
from backlight.cli.reference import reference
from cli.running import run

COMMANDS = reference()


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_commands_are_listed_in_their_groups_each_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    titles = [line[:-1] for line in lines if re.fullmatch(r"\w[\w ]*:", line)]
    assert titles == [*dict.fromkeys(own.group for own in COMMANDS), "Global options"]
    assert titles[:4] == ["Atlas", "One image", "Studies", "Adaptive networks"]
    for own in COMMANDS:
        assert re.search(rf"^  {own.name} +{re.escape(own.summary)}$", "\n".join(lines), re.MULTILINE)
    assert {"--install-completion", "--show-completion"} <= set(" ".join(lines).split())


@pytest.mark.parametrize("own", COMMANDS, ids=[own.name for own in COMMANDS])
def test_help_of_a_command_fits_80_columns_and_names_all_it_takes(
    own: Described, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*own.name.split(), "--help") == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert not re.search(r"<\w+>|\{[A-Z]|╭|│", text)
    folded = " ".join(text.split())
    assert folded.startswith(f"Usage: backlight {own.name} {' '.join(own.usage)}")
    for given in (*own.arguments, *own.options):
        assert f" {given.typed} " in folded
        # Click breaks lines at hyphens too.
        assert given.explained.replace(" ", "") in folded.replace(" ", "")
    assert "Global options: -q, --quiet" in folded


@pytest.mark.parametrize(
    ("options", "title"),
    [
        ({"force_terminal": True, "no_color": False}, "\x1b[1mMaps\x1b[0m:"),
        ({"force_terminal": True, "no_color": True}, "Maps:"),
        ({"force_terminal": False}, "Maps:"),
    ],
)
def test_headings_are_bold_on_a_terminal_with_colours_only(
    options: dict[str, bool], title: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backlight.cli.helping.console", Console(**options))  # type: ignore[arg-type]
    formatter = typer.Context(Commands(name="backlight")).make_formatter()
    write_list(formatter, "Maps", [("a", "first"), ("bc", "second")])
    write_list(formatter, "None", [])
    assert formatter.getvalue().split("\n") == [title, "  a   first", "  bc  second", ""]
