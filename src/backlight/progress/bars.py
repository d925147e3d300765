"""Progress as bars: by Rich on a terminal, as text that is written over in a notebook; elsewhere as plain lines."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from io import StringIO
from time import monotonic
from typing import Any, Protocol, runtime_checkable

from rich.console import Console
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
from rich.text import Text

from backlight.progress.lines import PlainLines, described_phase

_NOTEBOOK_WIDTH = 110
_WRITTEN_OVER_EVERY_S = 0.2


@runtime_checkable
class Report(Protocol):
    """What the library calls to say how far it is."""

    def __call__(self, phase: str, done: int, total: int, note: str = "") -> None:
        """Show that so much of a phase is done, and a note beside it."""


class _Rate(ProgressColumn):
    """Things per second, or seconds per thing where that is below one; what they are, a narrow line has no room for."""

    def render(self, task: Task) -> Text:
        if not task.speed or not task.fields["unit"]:
            return Text("")
        return Text(f"{task.speed:.1f}/s" if task.speed >= 1 else f"{1 / task.speed:.1f} s each")


def watched() -> AbstractContextManager[Report]:
    """Return what shows progress for a caller in Python: bars on a terminal or in a notebook, else lines.

    It is written to the error stream, or into the notebook's cell.
    """
    console = Console(stderr=True)
    if console.is_jupyter:
        return in_a_notebook()
    if console.is_terminal and not console.is_dumb_terminal:
        return on_a_terminal(console)
    return in_lines(lambda line: print(line, file=sys.stderr, flush=True))


@contextmanager
def on_a_terminal(console: Console) -> Iterator[Report]:
    """Hand out what moves bars on a terminal; they appear with the first report, and stay where they end."""
    bars = _bars(console)
    move = _mover(bars)

    def report(phase: str, done: int, total: int, note: str = "") -> None:
        if not bars.live.is_started:
            bars.start()
        move(phase, done, total, note)

    try:
        yield report
    finally:
        if bars.live.is_started:
            bars.stop()


@contextmanager
def in_lines(write: Callable[[str], None]) -> Iterator[Report]:
    """Hand out what prints a line now and then."""
    yield PlainLines(write)


@contextmanager
def in_a_notebook() -> Iterator[Report]:
    """Hand out what writes bars into a cell, over and over; Rich's own need a widget that few have installed."""
    from IPython import display as notebook

    console = Console(file=StringIO(), width=_NOTEBOOK_WIDTH, force_jupyter=False)
    bars = _bars(console)
    move = _mover(bars)
    show: Any = notebook.display
    shown: Any = None
    written_at = -_WRITTEN_OVER_EVERY_S

    def write() -> None:
        nonlocal shown, written_at
        with console.capture() as captured:
            console.print(bars.get_renderable())
        text = {"text/plain": captured.get().rstrip()}
        if shown is None:
            shown = show(text, raw=True, display_id=True)
        else:
            shown.update(text, raw=True)
        written_at = monotonic()

    def report(phase: str, done: int, total: int, note: str = "") -> None:
        move(phase, done, total, note)
        if monotonic() - written_at >= _WRITTEN_OVER_EVERY_S:
            write()

    try:
        yield report
    finally:
        if bars.tasks:
            write()


def _bars(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<11}", markup=False),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        console=console,
    )


def _mover(bars: Progress) -> Callable[[str, int, int, str], None]:
    """Return what moves the bar of a phase, which it adds when it first hears of it."""
    tasks: dict[str, TaskID] = {}

    def move(phase: str, done: int, total: int, note: str) -> None:
        if phase not in tasks:
            description, unit = described_phase(phase)
            tasks[phase] = bars.add_task(description, total=total, unit=unit, note=note, completed=0)
        shown = note or bars.tasks[tasks[phase]].fields["note"]
        bars.update(tasks[phase], completed=done, total=total, note=shown)

    return move
