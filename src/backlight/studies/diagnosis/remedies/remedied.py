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
