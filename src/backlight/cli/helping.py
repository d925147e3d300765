"""How help looks: the usage, what the command does, and its arguments and options, in at most 80 columns.

Click lays the text out; what stands in it comes from the commands' functions (`backlight.cli.described`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import typer
from typer.core import TyperCommand

from backlight.cli.described import Described, Parameter
from backlight.cli.output import console

GLOBAL_OPTIONS = (
    Parameter(("-q", "--quiet"), "", "Print only results and errors: no progress, no notes."),
    Parameter(("--debug",), "", "Show the whole traceback of an error."),
    Parameter(("--help",), "", "Show this message and exit."),
)
"""What every command takes, before or after its name."""

COMPLETION_OPTIONS = (
    Parameter(("--version",), "", "Print the version and stop."),
    Parameter(("--install-completion",), "", "Install completion for the current shell."),
    Parameter(("--show-completion",), "", "Print the script that completes, to adapt it."),
)
"""What only the program takes, without a command."""


class DescribedCommand(TyperCommand):
    """A command whose help is made from what its function says."""

    described: Described | None = None

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return what is typed after the name."""
        return super().collect_usage_pieces(ctx) if self.described is None else list(self.described.usage)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        own = self.described
        if own is None:
            super().format_help(ctx, formatter)
            return
        self.format_usage(ctx, formatter)
        write_paragraphs(formatter, (own.summary, *own.details))
        write_list(formatter, "Arguments", [(given.typed, given.explained) for given in own.arguments])
        for title, options in own.panels.items():
            write_list(formatter, title, [(given.typed, given.explained) for given in options])
        write_global_options(formatter)


def write_paragraphs(formatter: Any, paragraphs: Iterable[str]) -> None:
    """Write paragraphs, each after an empty line."""
    for text in paragraphs:
        formatter.write_paragraph()
        formatter.write_text(text)


def write_list(formatter: Any, title: str, rows: Sequence[tuple[str, str]]) -> None:
    """Write names and what they are, under a title; nothing where there are none."""
    if not rows:
        return
    is_styled = console.is_terminal and not console.no_color
    with formatter.section(typer.style(title, bold=True) if is_styled else title):
        formatter.write_dl(rows, col_max=26)


def write_global_options(formatter: Any, *more: Parameter) -> None:
    """Write the options of the program."""
    rows = [(own.typed, own.explained) for own in (*more, *GLOBAL_OPTIONS)]
    write_list(formatter, "Global options", rows)
