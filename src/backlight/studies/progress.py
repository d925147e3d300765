"""How far a study is: what is done, counted and reported."""

from __future__ import annotations

from backlight.progress import Watching, as_progress


class Count:
    """Counts what a study has done and reports each step.

    Args:
        progress: Called with the phase, how much is done and how much there is in all; None reports nothing.
        phase: What is done.
        n_all: How much there is to do.

    Example:
        >>> count = Count(print, "sanity", 3)
        >>> count.add(2)
        sanity 2 3
    """

    def __init__(self, progress: Watching, phase: str, n_all: int) -> None:
        self._progress, self._phase, self._n_all = as_progress(progress), phase, n_all
        self._n_done = 0

    def add(self, n: int = 1) -> None:
        """Report that n more are done."""
        self._n_done += n
        self._progress(self._phase, self._n_done, self._n_all)
