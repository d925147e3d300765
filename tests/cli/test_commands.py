"""The commands by name: their list and the help of the group `adaptive`."""

from __future__ import annotations

import inspect
from importlib import import_module

import pytest

from backlight.cli.commands import AdaptiveCommands, Command, Commands
from cli.running import run

KNOWN = [*Commands.known.items(), *AdaptiveCommands.known.items()]


@pytest.mark.parametrize(("name", "command"), KNOWN, ids=[name for name, _ in KNOWN])
def test_the_list_says_of_a_command_what_its_own_help_says(name: str, command: Command) -> None:
    module, _, function = command.place.partition(":")
    found = getattr(import_module(f"backlight.cli.{module}"), function)
    assert inspect.getdoc(found).split("\n\n")[0] == command.summary


def test_help_of_adaptive_names_its_commands(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert run("adaptive", "--help") == 0
    text = capsys.readouterr().out
    words = ("fit", "show", "without labels")
    assert [word for word in words if word not in text] == []
