"""Progress as plain lines, for log files: where there is no terminal, nobody can see a bar move."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from backlight.text import in_words, shortened, visible

PHASES = {
    "compile": ("compiling", ""),
    "cluster": ("starting", ""),
    "scan": ("scanning", "images"),
    "certify": ("certifying", "images"),
    "project": ("projecting", "hits"),
    "band": ("bands", "examples"),
    "light": ("keeping", "images"),
    "join": ("joining", ""),
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
"""What each phase of the library's work is called, and what it counts."""

_EVERY_S, _SHARE, _LEAST_S = 30.0, 0.05, 2.0
_NAME_LENGTH = 24


def described_phase(phase: str) -> tuple[str, str]:
    """Return what a phase is called, and what it counts; one that is not known here is called by its own name."""
    return PHASES.get(phase, (shortened(visible(phase), _NAME_LENGTH, keep="end"), ""))


@dataclass
class _Phase:
    """How far a phase was when it was first heard of, and at its latest line."""

    began: float
    done_before: int
    said_at: float
    said_done: int
    is_over: bool = False


class PlainLines:
    """Progress, a line at a time: every half minute, or every 5 % where that is sooner but not before two seconds.

    A phase that is done has a last line, with the time that it took.

    Args:
        write: Prints a line.
        clock: Seconds that only grow.
    """

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float] = monotonic) -> None:
        self._write, self._clock = write, clock
        self._phases: dict[str, _Phase] = {}

    def __call__(self, phase: str, done: int, total: int, note: str = "") -> None:
        """Take in that so much of a phase is done, and print a line where one is due."""
        now = self._clock()
        own = self._phases.setdefault(phase, _Phase(now, done, now, done))
        if own.is_over:
            return
        waited, share = now - own.said_at, (done - own.said_done) / max(total, 1)
        is_due = waited >= _EVERY_S or (waited >= _LEAST_S and share >= _SHARE)
        own.is_over = done >= total
        if not (own.is_over or is_due):
            return
        own.said_at, own.said_done = now, done
        self._write(_line(phase, own, now, done, total) + (f", {visible(note)}" if note else ""))


def _line(phase: str, own: _Phase, now: float, done: int, total: int) -> str:
    name, unit = described_phase(phase)
    thing = unit.removesuffix("s") if total == 1 else unit
    parts = [f"{name}: {done:,} of {total:,} {thing}".rstrip() + f" ({done / max(total, 1):.0%})"]
    spent, fresh = now - own.began, done - own.done_before
    if own.is_over:
        return f"{parts[0]}, took {in_words(spent)}" if fresh else parts[0]
    if fresh > 0 and spent > 0:
        parts.append(_rate(fresh / spent, unit))
        parts.append(f"{in_words((total - done) * spent / fresh)} left")
    return ", ".join(filter(None, parts))


def _rate(speed: float, unit: str) -> str:
    """Return things per second, or seconds per thing where that is below one; nothing of what is not counted."""
    if not unit:
        return ""
    return f"{speed:.1f} {unit}/s" if speed >= 1 else f"{1 / speed:.1f} s each"
