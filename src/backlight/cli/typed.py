"""What was typed: the words of the command line, for messages that say what to type instead."""

from __future__ import annotations

from collections.abc import Sequence

_words: list[str] = []


def remember(words: Sequence[str]) -> None:
    """Keep the words of the command line that is run."""
    _words[:] = words


def others(*known: str | None) -> list[str]:
    """Return the words that were typed beside those that are known, in their order."""
    return [word for word in _words if word not in known]
