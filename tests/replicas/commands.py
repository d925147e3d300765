"""The commands of the program, those of groups too, and what their `--help` prints."""

from __future__ import annotations

from typer.testing import CliRunner

from backlight.cli.app import app
from backlight.cli.commands import AdaptiveCommands, Commands


def command_helps() -> dict[str, str]:
    """Return the help of every command by its words: `build`, `adaptive fit`."""
    runner = CliRunner(env={"COLUMNS": "200"})
    names = [*Commands.known, *(f"adaptive {name}" for name in AdaptiveCommands.known)]
    return {name: runner.invoke(app, [*name.split(), "--help"]).output for name in names}


def program_help() -> str:
    """Return the help of the program itself: what it takes without a command is only there."""
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, ["--help"]).output
