"""Amounts in words."""

from __future__ import annotations

import pytest

from backlight.cli.amounts import range_in_words, size_in_words


def test_sizes_in_words() -> None:
    assert [size_in_words(n) for n in (40e6, 1e9 - 1, 1.25e9)] == ["40 MB", "1000 MB", "1.2 GB"]
    assert [size_in_words(n) for n in (0, 999_999, 1e6)] == ["less than 1 MB", "less than 1 MB", "1 MB"]


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (120, 240, "2 to 4 min"), (50, 180, "50 s to 3 min"), (0.2, 0.4, "about 1 s"), (3.2, 3.4, "about 3 s"),
        (3_000, 8_000, "50 min to 2.2 h"),
    ],
)  # fmt: skip
def test_ranges_in_words(low: float, high: float, words: str) -> None:
    assert range_in_words(low, high) == words
