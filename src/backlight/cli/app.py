"""The `backlight` program: its commands, and how errors become one line and an exit code."""

from __future__ import annotations

import sys
import warnings

import typer

from backlight import __version__
from backlight.cli import (
    adaptive_fit,
    adaptive_show,
    build,
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
from backlight.cli.output import errors
from backlight.errors import (
    BacklightError,
    BadInputError,
    CaptureWarning,
    StorageError,
    UnsupportedOperatorError,
)

_EXIT_BAD_INPUT, _EXIT_FAILED = 2, 1
_BAD_INPUT = (BadInputError, StorageError, UnsupportedOperatorError)

app = typer.Typer(
    name="backlight",
    help="See what the hidden layers of a trained convolutional network respond to.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("demo")(demo.demo)
app.command("layers")(layers.layers)
app.command("build")(build.build)
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
    warnings.simplefilter("default", CaptureWarning)
    warnings.showwarning = _show_note
    try:
        app(arguments, prog_name="backlight", standalone_mode=True)
    except BacklightError as error:
        if debug:
            raise
        errors.print(f"[bold red]error:[/] {_plain(error)}", highlight=False, soft_wrap=True)
        sys.exit(_EXIT_BAD_INPUT if isinstance(error, _BAD_INPUT) else _EXIT_FAILED)
    except Exception as error:
        if debug:
            raise
        text = f"{type(error).__name__}: {_plain(error)}"
        errors.print(
            f"[bold red]unexpected error:[/] {text}; --debug shows where", highlight=False, soft_wrap=True
        )
        sys.exit(_EXIT_FAILED)


def _show_note(message: Warning | str, *_: object, **__: object) -> None:
    errors.print(f"[yellow]note:[/] {_plain(message)}", highlight=False, soft_wrap=True)


def _plain(error: Exception | str) -> str:
    from rich.markup import escape

    lines = str(error).strip().splitlines()
    return escape(lines[0] if lines else type(error).__name__)
