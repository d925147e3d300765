"""The `backlight` program: its commands, and how errors become one line and an exit code."""

from __future__ import annotations

import os
import sys
import warnings

import typer

from backlight import __version__
from backlight.cli.commands import AdaptiveCommands, Commands, StoppedByUser
from backlight.cli.completing import whole_words
from backlight.cli.output import EXIT_STOPPED, errors, notes, show_warning, styled
from backlight.cli.typed import remember
from backlight.errors import (
    BacklightError,
    BacklightWarning,
    BadInputError,
    StorageError,
    UnsupportedOperatorError,
    first_line,
)

_EXIT_BAD_INPUT, _EXIT_FAILED = 2, 1
_BAD_INPUT = (BadInputError, StorageError, UnsupportedOperatorError)

app = typer.Typer(
    name="backlight",
    cls=Commands,
    help="See what the hidden layers of a trained convolutional network respond to.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(
    typer.Typer(
        cls=AdaptiveCommands,
        no_args_is_help=True,
        rich_markup_mode=None,
        help="Learn networks, without labels, that reconstruct images from few activations, and draw them.",
    ),
    name="adaptive",
)


@app.callback(invoke_without_command=True)
def _root(
    version: bool = typer.Option(False, "--version"),
    debug: bool = typer.Option(False, "--debug"),
    quiet: bool = typer.Option(False, "--quiet", "-q"),
) -> None:
    if version:
        typer.echo(f"backlight {__version__}")
        raise typer.Exit


def main(arguments: list[str] | None = None) -> None:
    """Run the program and exit: 0 done, 2 bad input, 1 failed work, 130 stopped by Ctrl-C."""
    arguments, debug = _taken_out(sys.argv[1:] if arguments is None else arguments, "--debug")
    arguments, notes.quiet = _taken_out(arguments, "--quiet", "-q")
    remember(arguments)
    warnings.simplefilter("ignore")
    warnings.simplefilter("always", BacklightWarning)
    warnings.showwarning = show_warning
    try:
        with whole_words(os.environ):
            _run(arguments, debug)
    except (StoppedByUser, KeyboardInterrupt):
        errors.print("stopped", soft_wrap=True)
        sys.exit(EXIT_STOPPED)


def _taken_out(arguments: list[str], *names: str) -> tuple[list[str], bool]:
    """Return the command line without an option of the program, which may stand anywhere, and whether it was there."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    rest = [own for own in arguments[:end] if own not in names]
    return rest + arguments[end:], len(rest) < end


def _run(arguments: list[str], debug: bool) -> None:
    try:
        app(arguments, prog_name="backlight", standalone_mode=True)
    except StoppedByUser:
        raise
    except BacklightError as error:
        if debug:
            _show_causes(error)
            raise
        errors.print(styled("[bold red]error:[/] {}", error.for_command_line), soft_wrap=True)
        sys.exit(_EXIT_BAD_INPUT if isinstance(error, _BAD_INPUT) else _EXIT_FAILED)
    except Exception as error:
        if debug:
            raise
        text = f"{type(error).__name__}: {first_line(error)}"
        errors.print(styled("[bold red]unexpected error:[/] {}; --debug shows where", text), soft_wrap=True)
        sys.exit(_EXIT_FAILED)


def _show_causes(error: BaseException) -> None:
    """Let a traceback show what an error came from, also where its text says all (`raise … from None`)."""
    inner: BaseException | None = error
    while inner is not None:
        inner.__suppress_context__ = inner.__cause__ is not None
        inner = inner.__cause__ or inner.__context__
