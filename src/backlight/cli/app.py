"""The `backlight` program: its commands, and how errors become one line and an exit code."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from backlight import __version__
from backlight.cli import (
    adaptive_fit,
    adaptive_show,
    build,
    check,
    correspond,
    demo,
    faithfulness,
    figure,
    homogeneity,
    invariance,
    invert,
    layers,
    occlude,
    project,
    sanity,
    superpose,
)
from backlight.cli.output import EXIT_STOPPED, errors, show_warning, styled
from backlight.errors import (
    BacklightError,
    BacklightWarning,
    BadInputError,
    StorageError,
    UnsupportedOperatorError,
)

_EXIT_BAD_INPUT, _EXIT_FAILED = 2, 1
_BAD_INPUT = (BadInputError, StorageError, UnsupportedOperatorError)


class _Stopped(Exception):  # noqa: N818  (it is no error)
    """Ctrl-C: Typer would end without a word, or with another exit code, by its version."""


class _Commands(TyperGroup):
    """The commands; lets Ctrl-C out of Typer's hands."""

    def make_context(self, *arguments: Any, **named: Any) -> Any:
        """Read the command line."""
        with _uninterrupted():
            return super().make_context(*arguments, **named)

    def invoke(self, *arguments: Any) -> Any:
        """Run the command."""
        with _uninterrupted():
            return super().invoke(*arguments)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise _Stopped from None


app = typer.Typer(
    name="backlight",
    cls=_Commands,
    help="See what the hidden layers of a trained convolutional network respond to.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("demo")(demo.demo)
app.command("layers")(layers.layers)
app.command("build")(build.build)
app.command("check")(check.check)
app.command("figure")(figure.figure)
app.command("project")(project.project)
app.command("superpose")(superpose.superpose)
app.command("faithfulness")(faithfulness.faithfulness)
app.command("occlude")(occlude.occlude)
app.command("invariance")(invariance.invariance)
app.command("correspond")(correspond.correspond)
app.command("homogeneity")(homogeneity.homogeneity)
app.command("sanity")(sanity.sanity)
app.command("invert")(invert.invert)
adaptive = typer.Typer(
    no_args_is_help=True,
    help="Learn networks, without labels, that reconstruct images from few activations, and draw them.",
)
adaptive.command("fit")(adaptive_fit.fit)
adaptive.command("show")(adaptive_show.show)
app.add_typer(adaptive, name="adaptive")


@app.callback(invoke_without_command=True)
def _root(
    version: bool = typer.Option(False, "--version", help="Print the version and stop."),
    debug: bool = typer.Option(False, "--debug", help="Show the whole traceback of an error."),
) -> None:
    if version:
        typer.echo(f"backlight {__version__}")
        raise typer.Exit


def main(arguments: list[str] | None = None) -> None:
    """Run the program and exit: 0 done, 2 bad input, 1 failed work, 130 stopped by Ctrl-C."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    arguments = ["--debug"] * debug + [a for a in arguments if a != "--debug"]
    warnings.simplefilter("ignore")
    warnings.simplefilter("always", BacklightWarning)
    warnings.showwarning = show_warning
    try:
        _run(arguments, debug)
    except (_Stopped, KeyboardInterrupt):
        errors.print("stopped", soft_wrap=True)
        sys.exit(EXIT_STOPPED)


def _run(arguments: list[str], debug: bool) -> None:
    try:
        app(arguments, prog_name="backlight", standalone_mode=True)
    except _Stopped:
        raise
    except BacklightError as error:
        if debug:
            raise
        errors.print(styled("[bold red]error:[/] {}", error.for_command_line), soft_wrap=True)
        sys.exit(_EXIT_BAD_INPUT if isinstance(error, _BAD_INPUT) else _EXIT_FAILED)
    except Exception as error:
        if debug:
            raise
        text = f"{type(error).__name__}: {_first_line(error)}"
        errors.print(styled("[bold red]unexpected error:[/] {}; --debug shows where", text), soft_wrap=True)
        sys.exit(_EXIT_FAILED)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
