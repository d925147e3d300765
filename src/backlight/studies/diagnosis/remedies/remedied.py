"""What a remedy gives: a new model, and what was done."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True, eq=False)
class Remedied:
    """A network after a remedy.

    Attributes:
        model: A changed copy of the model: an ordinary module of the same class unless `done` names a wrapper.
        remedy: The remedy's name.
        done: What was done, in one line.
        notes: What else its owner should know, one line each.
    """

    model: nn.Module
    remedy: str
    done: str
    notes: tuple[str, ...] = ()


def counted(n: int, what: str, several: str | None = None) -> str:
    """Return a number with what it counts.

    Example:
        >>> counted(1, "map"), counted(2, "map"), counted(0, "remedy", "remedies")
        ('1 map', '2 maps', '0 remedies')
    """
    return f"{n} {what if n == 1 else several or what + 's'}"
