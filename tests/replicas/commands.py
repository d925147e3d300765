"""The commands of the program, those of groups too, and what their `--help` prints."""

from __future__ import annotations

from typer.testing import CliRunner

from backlight.cli.app import app


def command_helps() -> dict[str, str]:
    """Return the help of every command by its words: `build`, `adaptive fit`."""
    runner = CliRunner(env={"COLUMNS": "200"})
    names = [str(command.name) for command in app.registered_commands]
    for group in app.registered_groups:
        assert group.typer_instance is not None
        names += [f"{group.name} {command.name}" for command in group.typer_instance.registered_commands]
    return {name: runner.invoke(app, [*name.split(), "--help"]).output for name in names}
