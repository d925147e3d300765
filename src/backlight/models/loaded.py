"""A model as a spec named it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from backlight.images import Preprocessing


@dataclass(frozen=True)
class LoadedModel:
    """A model as a spec named it.

    Attributes:
        model: The module, with its weights.
        preprocessing: What its zoo says about its inputs; None where nothing is known.
        is_random: Whether its weights are its random initialisation.
        spec: What named it.
        notes: What was chosen, stripped, converted or left out while it was loaded, a line each.
        channels: Channels that it reads, where the file says so, as an exported program does.
        size: (h, w) of its input in pixels, where the file fixes it.
    """

    model: nn.Module
    preprocessing: Preprocessing | None
    is_random: bool
    spec: str
    notes: tuple[str, ...] = ()
    channels: int | None = None
    size: tuple[int, int] | None = None


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, its class where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__
