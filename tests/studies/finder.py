"""A network that finds a planted pattern, and pictures that show it: the truth for tests of occlusion."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from PIL import Image
from torch import nn

import backlight
from backlight.geometry import Box
from backlight.studies.occlusion import Occlusion, OcclusionConfig

SIZE, PATTERN = 32, 5
PLACE = Box(18, 7, 18 + PATTERN, 7 + PATTERN)
PLAIN = backlight.Preprocessing(None, (SIZE, SIZE), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
SQUARES = OcclusionConfig(size=7, stride=3)
Last = Callable[[torch.Tensor], torch.Tensor]


def as_it_is(scores: torch.Tensor) -> torch.Tensor:
    return scores


class Finder(nn.Module):
    """A matched filter for a planted pattern, and a class that asks for it: 0 with the pattern, 1 without."""

    def __init__(self, pattern: torch.Tensor, last: Last = as_it_is) -> None:
        super().__init__()
        self.match = nn.Conv2d(3, 3, PATTERN)
        self.last = last
        with torch.no_grad():
            self.match.weight[:] = (
                torch.randn(3, *pattern.shape, generator=torch.Generator().manual_seed(0)) / 200
            )
            self.match.weight[1] = pattern / pattern.square().sum()
            self.match.bias.copy_(torch.tensor([0.0, -0.15, 0.0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen = torch.relu(self.match(x))[:, 1].amax((1, 2))
        return self.last(torch.stack([8 * seen, 0 * seen + 2, 0 * seen - 1, 0 * seen - 2], 1))


def pattern_pixels() -> np.ndarray:
    return np.random.default_rng(5).choice([0, 255], (PATTERN, PATTERN, 3)).astype(np.uint8)


def picture(seed: int, place: Box = PLACE) -> Image.Image:
    """Return faint noise that shows the pattern at a place."""
    image = np.random.default_rng(seed).integers(118, 138, (SIZE, SIZE, 3), np.uint8)
    image[place.slices()] = pattern_pixels()
    return Image.fromarray(image)


@cache
def finder(last: Last = as_it_is) -> backlight.Network:
    pattern = torch.from_numpy(pattern_pixels() / 255.0 - 0.5).permute(2, 0, 1).float() * 4
    return backlight.capture(Finder(pattern, last), (3, SIZE, SIZE), PLAIN)


def overlaps_of(result: Occlusion, place: Box = PLACE) -> np.ndarray:
    """Return (r, s) how many pixels of a place, the pattern's, each square covers."""
    size = result.config.size
    boxes = [[Box(r, c, r + size, c + size) for c in result.cols.tolist()] for r in result.rows.tolist()]
    return np.array([[box.intersection(place).area for box in row] for row in boxes])
