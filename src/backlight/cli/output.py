"""What the commands print: consoles that take text as it is, progress bars, amounts in words.

Paths, names of layers and labels come from files and may hold anything: `[red]`, `:cat:`, escape sequences. So a
console prints strings as they are, and only the template of `styled` is markup.
"""

from __future__ import annotations

import os
import re
import select
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from shlex import join
from string import Formatter
from typing import Any, NoReturn

import typer
from rich.console import Console, ConsoleDimensions, ConsoleOptions
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from backlight.errors import BacklightWarning
from backlight.images import Skipped
from backlight.progress.bars import Report, in_lines, on_a_terminal
from backlight.text import counted, visible

_WIDEST = 10_000


class _PlainConsole(Console):
    """A console to which strings, cells of tables among them, are text and nothing else.

    Where no terminal shows them, lines and tables are as wide as they need: a file or a program reads them.
    """

    def __init__(self, **options: Any) -> None:
        self._needed = 0
        super().__init__(highlight=False, markup=False, emoji=False, **options)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print; a table with longer names than a line has room for gets longer lines, which the terminal breaks.

        Rich would leave out whole columns.
        """
        self._needed = max((self._least(own) for own in objects if isinstance(own, Table)), default=0)
        try:
            super().print(*objects, **options)
        finally:
            self._needed = 0

    def _least(self, table: Table) -> int:
        """Return the least width of a table, whose columns that are not to be broken take what they need."""
        wide = self.options.update(max_width=_WIDEST)
        for column in table.columns:
            if column.no_wrap:
                cells = (Measurement.get(self, wide, cell).maximum for cell in (column.header, *column.cells))
                column.min_width = max(cells)
        return Measurement.get(self, wide, table).minimum

    @property
    def is_live(self) -> bool:
        """Whether somebody looks: a terminal that can move its cursor, whatever colours are forced."""
        isatty = getattr(self.file, "isatty", None)
        return isatty is not None and isatty() and not self.is_dumb_terminal

    @property
    def size(self) -> ConsoleDimensions:
        """The size of the terminal, or as much as there may be."""
        if not self.is_live:
            return ConsoleDimensions(_WIDEST, 25)
        width, height = super().size
        return ConsoleDimensions(max(width, self._needed), height)

    @size.setter
    def size(self, new_size: tuple[int, int]) -> None:
        self._width, self._height = new_size

    def on_broken_pipe(self) -> None:
        """End quietly: whoever read the output, such as `head`, has what it wants."""
        stop_printing()

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


def stop_printing() -> NoReturn:
    """End the program, with nothing more printed: its output is read no longer."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # else Python complains of the rest when it ends
    raise SystemExit(0)


def is_read_no_longer() -> bool:
    """Return whether what reads the output has ended, and not something else that is written to."""
    if not hasattr(select, "poll"):  # Windows
        return True
    poll = select.poll()
    poll.register(1, 0)  # errors are told always
    return bool(poll.poll(0))


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


class _TitledTable(Table):
    """A table below its title, which may be wider: Rich would break it at the width of the table."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Any]:
        title, self.title = self.title, None
        if title is not None:
            yield Text(title, "table.title") if isinstance(title, str) else title
        yield from super().__rich_console__(console, options)
        self.title = title


def new_table(title: str | Text, **options: Any) -> Table:
    """Return a table without a frame, its title at the left; the options are Rich's."""
    return _TitledTable(title=title, box=None, pad_edge=False, **options)


def print_command(*words: object) -> None:
    """Print a command to run next, quoted for a shell where its words ask for it."""
    console.print(join(map(str, words)), soft_wrap=True)


EXIT_STOPPED = 130
_said: set[str] = set()


@contextmanager
def progress_bars(resumes: bool = True) -> Iterator[Report]:
    """Show how far each phase of the work is; hands out the callback that the library calls.

    Ctrl-C inside is said to have lost nothing, and ends the program with exit code 130.

    Args:
        resumes: Whether the same command resumes where this one was stopped.
    """
    with _shown() as report:
        try:
            yield report
        except KeyboardInterrupt:
            stopped = True
        else:
            stopped = False
    if stopped:
        kept = "finished steps are kept, and the same command resumes after the last of them"
        errors.print(f"stopped; {kept if resumes else 'nothing was written'}", soft_wrap=True)
        raise typer.Exit(EXIT_STOPPED)


@contextmanager
def doing(what: str) -> Iterator[None]:
    """Say on a terminal what is being done in the block, for as long as it takes."""
    if not notes.is_live or notes.quiet:
        yield
        return
    with notes.status(styled("{} …", what)):
        yield


def _shown() -> AbstractContextManager[Report]:
    """Return what shows progress: bars on a terminal, else lines; nothing with `--quiet`."""
    if notes.quiet:
        return nullcontext(_unheard)
    return on_a_terminal(notes) if notes.is_live else in_lines(partial(notes.print, soft_wrap=True))


def _unheard(phase: str, done: int, total: int, note: str = "") -> None:
    """Show nothing."""


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
