"""Amounts in words: durations and file sizes."""

from __future__ import annotations

from backlight.text import in_words


def range_in_words(low: int | float, high: int | float) -> str:
    """Return a range of durations in words: `2 to 4 min`, `50 s to 3 min`; one where both read the same."""
    first, last = in_words(low), in_words(high)
    if first == last:
        return f"about {first}"
    (number, unit), other = first.split(), last.split()[1]
    return f"{number} to {last}" if unit == other else f"{first} to {last}"


def size_in_words(n_bytes: int | float) -> str:
    """Return a file size in words: `40 MB`."""
    if n_bytes < 1e6:
        return "less than 1 MB"
    return f"{n_bytes / 1e6:.0f} MB" if n_bytes < 1e9 else f"{n_bytes / 1e9:.1f} GB"
