"""The commands by name: their list, their help, and that only the one that runs is imported."""

from __future__ import annotations

import inspect
from importlib import import_module

import pytest
import typer

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


@pytest.mark.parametrize(("typed", "meant"), [(["figur"], "figure"), (["adaptive", "fi"], "fit")])
def test_a_command_that_does_not_exist_gets_the_nearest_name(
    capsys: pytest.CaptureFixture[str], typed: list[str], meant: str
) -> None:
    assert run(*typed) == 2
    assert f"Did you mean '{meant}'" in " ".join(capsys.readouterr().err.split())


def test_only_the_command_that_runs_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = Command("gone:gone", "It is listed though it cannot be imported.")
    monkeypatch.setitem(Commands.known, "gone", gone)
    group = Commands(name="backlight")
    assert group.commands["gone"].help == gone.summary
    name, command, rest = group.resolve_command(typer.Context(group), ["check", "a.atlas", "--help"])
    assert (name, rest) == ("check", ["a.atlas", "--help"])
    assert command.help.split("\n\n")[0] == Commands.known["check"].summary
    with pytest.raises(ModuleNotFoundError, match=r"backlight\.cli\.gone"):
        group.resolve_command(typer.Context(group), ["gone"])
