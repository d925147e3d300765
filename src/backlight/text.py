"""Text from files and from errors, made fit to be shown on one line of a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal
from unicodedata import category


def visible(text: str) -> str:
    r"""Return text with its control characters written out, line breaks and escape sequences among them.

    Example:
        >>> print(visible("a\x1b[31m\nb.atlas"))
        a\x1b[31m\nb.atlas
    """
    if text.isprintable():
        return text
    return "".join(own if own.isprintable() or category(own) == "Zs" else _escaped(own) for own in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def shortened(text: str, most: int, keep: Literal["start", "end", "both"] = "start") -> str:
    """Return text of at most so many characters, with an ellipsis in the place of what is left out.

    Args:
        text: Any text.
        most: How many characters the result may have, the ellipsis included.
        keep: What stays: the start of a sentence, the end of a layer's name, both ends of a path.

    Example:
        >>> shortened("features.denseblock4.relu2", 12, keep="end"), shortened("abcdefgh", 5, keep="both")
        ('…lock4.relu2', 'ab…gh')
    """
    if len(text) <= most:
        return text
    n_end = {"start": 0, "end": most - 1, "both": (most - 1) // 2}[keep]
    return f"{text[: most - 1 - n_end]}…{text[len(text) - n_end :]}"


def counted(n: int, what: str, several: str | None = None) -> str:
    """Return a number with what it counts; `several` is the plural where it is not formed by an s.

    Example:
        >>> counted(1, "map"), counted(2, "map"), counted(0, "remedy", "remedies")
        ('1 map', '2 maps', '0 remedies')
    """
    return f"{n} {what if n == 1 else several or what + 's'}"


def closest(name: str, names: Iterable[str]) -> str | None:
    """Return the name that is most like one that was mistyped; None where none is alike.

    Example:
        >>> closest("layer2.0.relu2", ["layer1.0.relu", "layer2.0.relu_2"]), closest("x", ["relu"])
        ('layer2.0.relu_2', None)
    """
    from difflib import get_close_matches

    return next(iter(get_close_matches(name, list(names), 1)), None)


def one_line(error: BaseException, most: int = 200) -> str:
    """Return an error's message folded into one short line; its class where it has none.

    Example:
        >>> one_line(ValueError("no\\n such  thing")), one_line(ValueError())
        ('no such thing', 'ValueError')
    """
    return shortened(" ".join(str(error).split()) or type(error).__name__, most)


def in_words(seconds: int | float) -> str:
    """Return a duration in words: `40 s`, `3 min`, `2.5 h`."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
