"""Progress: how long-running work reports how far it has got."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with the phase (`scan`, `project`, ...), the number of things done, and the number of things in all."""


def silent(phase: str, done: int, total: int) -> None:
    """Report nothing: what work calls where nobody listens."""
