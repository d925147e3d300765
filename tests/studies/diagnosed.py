"""A small network with known faults, for the tests of the diagnosis."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, nn

SIDE = 24


def sound(n_maps: int = 12) -> nn.Sequential:
    """Return a network of random filters, each map with a pattern of its own: two layers, one with a batch norm."""
    torch.manual_seed(3)
    model = nn.Sequential(
        nn.Conv2d(3, n_maps, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(n_maps, n_maps, 3, padding=1, bias=False),
        nn.BatchNorm2d(n_maps),
        nn.ReLU(),
    )
    with torch.no_grad():
        model(images(32))  # the statistics of the norm, in training mode
    return model.eval()


def faulty(change: Callable[[nn.Sequential], object]) -> nn.Sequential:
    """Return a copy of the sound network that was changed."""
    model = deepcopy(sound())
    with torch.no_grad():
        change(model)
    return model


def images(count: int, seed: int = 0) -> Tensor:
    """Return images (n, 3, side, side): smooth noise, different in each channel."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, 3, SIDE // 2, SIDE // 2, generator=generator)
    smooth = nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bilinear")
    return smooth + 0.3 * torch.randn(count, 3, SIDE, SIDE, generator=generator)
