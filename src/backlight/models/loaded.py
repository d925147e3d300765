"""The result of loading a model: the module, and what is known about it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from backlight.images import Preprocessing


@dataclass(frozen=True)
class LoadedModel:
    """A model that was loaded by its spec.

    Attributes:
        model: The module, with its weights.
        preprocessing: How its zoo preprocesses images; None if that is not known.
        is_random: Whether its weights are its random initialisation.
        spec: The spec that names it, such as `torchvision:resnet50`.
        notes: What was chosen, stripped, converted or left out while loading, one line each.
        channels: The number of input channels, if the file says so, as an exported program does.
        size: (h, w) of the input in pixels, if the file fixes it.
    """

    model: nn.Module
    preprocessing: Preprocessing | None
    is_random: bool
    spec: str
    notes: tuple[str, ...] = ()
    channels: int | None = None
    size: tuple[int, int] | None = None
