"""What the commands print: consoles that take text as it is, progress bars, amounts in words.

Paths, names of layers and labels come from files and may hold anything: `[red]`, `:cat:`, escape sequences. So a
console prints strings as they are, and only the template of `styled` is markup.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from shlex import join
from string import Formatter
from typing import Any, Protocol, runtime_checkable

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from backlight.errors import BacklightWarning
from backlight.images import Skipped
from backlight.text import counted, shortened, visible


class _PlainConsole(Console):
    """A console to which strings, cells of tables among them, are text and nothing else."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(visible(text), **options)


class _Fields(Formatter):
    """Fills a template of markup with values that are not markup."""

    def format_field(self, value: Any, format_spec: str) -> str:
        return escape(visible(format(value, format_spec)))


def styled(template: str, *values: object) -> Text:
    """Return text with styles: the template is markup, the values in its braces are not.

    Args:
        template: Always a literal, such as `[bold]{}[/]: {:.0%}`.
        values: What stands in its braces.

    Example:
        >>> styled("[bold]{}[/] lost {:.0%}", "[red]x.atlas", 0.5).plain
        '[red]x.atlas lost 50%'
    """
    return Text.from_markup(_Fields().vformat(template, values, {}), emoji=False)


console = _PlainConsole()
errors = _PlainConsole(stderr=True)
notes = _PlainConsole(stderr=True)
"""Where notes and progress go: with `--quiet` it is quiet, and errors are not."""


def has_browser() -> bool:
    """Return whether somebody sits there who could see a browser: a terminal, and on Linux a display."""
    has_display = sys.platform != "linux" or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
    return has_display and sys.stdout.isatty()


def say(template: str, *values: object) -> None:
    """Print one line, however long: the template is markup, always a literal; the values are not."""
    console.print(styled(template, *values), soft_wrap=True)


def note(text: str) -> None:
    """Print beside the output what the user should know."""
    notes.print(styled("[yellow]note:[/] {}", text), soft_wrap=True)


def new_table(title: str | Text, **options: Any) -> Table:
    """Return a table without a frame, its title at the left; the options are Rich's."""
    return Table(title=title, title_justify="left", box=None, pad_edge=False, **options)


def print_command(*words: object) -> None:
    """Print a command to run next, quoted for a shell where its words ask for it."""
    console.print(join(map(str, words)), soft_wrap=True)


EXIT_STOPPED = 130
_NAME_LENGTH = 24
_said: set[str] = set()

_PHASES = {
    "compile": ("compiling", ""),
    "cluster": ("starting", ""),
    "scan": ("scanning", "images"),
    "certify": ("certifying", "images"),
    "project": ("projecting", "hits"),
    "band": ("bands", "examples"),
    "light": ("keeping", "whole images"),
    "check": ("checking", "feature maps"),
    "faithfulness": ("covering", "hits"),
    "foretelling": ("covering", "hits"),
    "invariance": ("moving", "pictures"),
    "correspondence": ("masking", "masks"),
    "homogeneity": ("comparing", "hits"),
    "evolution": ("observing", "steps"),
    "occlusion": ("covering", "squares"),
    "sanity": ("replacing", "networks"),
    "diagnosis": ("looking", "images"),
    "remedies": ("trying", "networks"),
    "side by side": ("comparing", "feature maps"),
    "export": ("exporting", "files"),
    "prepare": ("preparing", ""),
    "search": ("searching", "images"),
}


class _Rate(ProgressColumn):
    """Things per second, or seconds per thing where that is below one."""

    def render(self, task: Task) -> Text:
        unit = task.fields.get("unit", "")
        if not task.speed or not unit:
            return Text("")
        return Text(f"{task.speed:.1f} {unit}/s" if task.speed >= 1 else f"{1 / task.speed:.1f} s each")


@runtime_checkable
class Report(Protocol):
    """What the library calls to say how far it is."""

    def __call__(self, phase: str, done: int, total: int, note: str = "") -> None:
        """Show that so much of a phase is done, and a note beside it."""


@contextmanager
def progress_bars(resumes: bool = True) -> Iterator[Report]:
    """Show a bar for each phase of the work; hands out the callback that the library calls.

    Ctrl-C inside is said to have lost nothing, and ends the program with exit code 130.

    Args:
        resumes: Whether the same command resumes where this one was stopped.
    """
    bars = Progress(
        TextColumn("{task.description:<11}", markup=False),
        BarColumn(bar_width=32),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        console=errors,
    )
    tasks: dict[str, TaskID] = {}

    def report(phase: str, done: int, total: int, note: str = "") -> None:
        if not tasks:
            bars.start()
        if phase not in tasks:
            description, unit = _PHASES.get(phase, (shortened(visible(phase), _NAME_LENGTH, keep="end"), ""))
            tasks[phase] = bars.add_task(description, total=total, unit=unit, note=note, completed=0)
        bars.update(
            tasks[phase], completed=done, total=total, note=note or bars.tasks[tasks[phase]].fields["note"]
        )

    try:
        yield report
    except KeyboardInterrupt:
        bars.stop()
        kept = (
            "what is finished is kept, and the same command resumes from there"
            if resumes
            else "nothing was written"
        )
        errors.print(f"stopped; {kept}", soft_wrap=True)
        raise typer.Exit(EXIT_STOPPED) from None
    finally:
        if tasks:
            bars.stop()


def show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """Print a warning of the library as one note, with the advice for the command line.

    Each kind is said once: a command that reads its pictures in several steps would repeat it.
    """
    text = message.for_command_line if isinstance(message, BacklightWarning) else str(message)
    kind = re.sub(r"[\d.,e+-]+", "0", text)
    if kind not in _said:
        _said.add(kind)
        note(text)


def print_skipped(skipped: Sequence[Skipped]) -> None:
    """Say how many pictures could not be read, and the first of them."""
    if skipped:
        say("[yellow]{} could not be read[/], the first:", counted(len(skipped), "picture"))
        say("  {}: {}", skipped[0].path, skipped[0].reason)


def in_words(seconds: float) -> str:
    """Return a duration in words: `40 s`, `3 min`, `2.5 h`."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def size_in_words(n_bytes: int | float) -> str:
    """Return a file size in words: `40 MB`."""
    if n_bytes < 1e6:
        return "less than 1 MB"
    return f"{n_bytes / 1e6:.0f} MB" if n_bytes < 1e9 else f"{n_bytes / 1e9:.1f} GB"
