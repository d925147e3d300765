"""Text that is shown on one line of a terminal."""

from __future__ import annotations

import pytest

from backlight.text import closest, in_words, one_line, shortened, visible


def test_text_that_fits_is_left_alone() -> None:
    assert shortened("abc", 3) == "abc"
    assert visible("fine äö\u3000– 日本") == "fine äö\u3000– 日本"


@pytest.mark.parametrize(("keep", "expected"), [("start", "abcd…"), ("end", "…fghi"), ("both", "ab…hi")])
def test_what_is_kept_of_text_that_does_not_fit(keep: str, expected: str) -> None:
    assert shortened("abcdefghi", 5, keep=keep) == expected  # type: ignore[arg-type]


def test_control_characters_and_lone_surrogates_are_written_out() -> None:
    assert visible("a\x1b[31m\n\u202e\ud800") == "a\\x1b[31m\\n\\u202e\\ud800"


def test_an_error_is_one_short_line() -> None:
    assert one_line(ValueError("no\n  such\tthing")) == "no such thing"
    assert one_line(KeyError()) == "KeyError"
    assert len(one_line(ValueError("x" * 500))) == 200


def test_the_closest_name_is_that_of_a_slip_and_of_nothing_else() -> None:
    names = ["layer1.0.relu", "layer2.0.relu_2", "fc"]
    assert closest("layer2.0.relu2", names) == "layer2.0.relu_2"
    assert closest("conv", names) is None
    assert closest("fc", []) is None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.0, "1 s"), (89.4, "89 s"), (90.0, "2 min"), (5399.0, "90 min"), (5400.0, "1.5 h")],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
