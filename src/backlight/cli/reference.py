"""The reference of the command line: every command with what it does and takes, as its `--help` says it.

The documentation and the tests are made from it, so that neither names an option that does not exist.
"""

from __future__ import annotations

from backlight.cli.commands import AdaptiveCommands, Commands, described
from backlight.cli.described import Described, Parameter
from backlight.cli.helping import COMPLETION_OPTIONS, GLOBAL_OPTIONS

__all__ = ["Described", "Parameter", "global_options", "reference"]


def reference() -> tuple[Described, ...]:
    """Return every command, those of `adaptive` too, by groups in the order of `backlight --help`.

    Example:
        >>> build = next(own for own in reference() if own.name == "build")
        >>> build.group, build.usage
        ('Atlas', ('[OPTIONS]', 'MODEL', 'IMAGES', '--output PATH'))
        >>> next(own.typed for own in build.options if "--maps" in own.names)
        '--maps TEXT'
    """
    own = [described(name, command) for name, command in Commands.known.items()]
    own += [described(f"adaptive {name}", command) for name, command in AdaptiveCommands.known.items()]
    groups = list(dict.fromkeys(command.group for command in own))
    return tuple(sorted(own, key=lambda command: groups.index(command.group)))


def global_options() -> tuple[Parameter, ...]:
    """Return the options that every command takes, and those of the program alone."""
    return (*GLOBAL_OPTIONS, *COMPLETION_OPTIONS)
