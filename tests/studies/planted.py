"""A planted truth: images that show a pattern somewhere off the middle of a field, and a network that finds it."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import nn

import backlight
from backlight.images import SequenceSource

SIZE, PATTERN = 32, 5
MEAN = backlight.Preprocessing(None, (SIZE, SIZE), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))

Planted = tuple[backlight.Atlas, backlight.Network, SequenceSource]


class Detector(nn.Module):
    """Finds a planted pattern anywhere in a wide field: a matched filter, and the largest of its answers around."""

    def __init__(self, pattern: torch.Tensor) -> None:
        super().__init__()
        self.match = nn.Conv2d(3, 2, PATTERN)
        self.pool = nn.MaxPool2d(4)
        self.around = nn.MaxPool2d(5, 1, 2)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            self.match.weight[0] = pattern / pattern.square().sum()
            self.match.weight[1] = torch.randn(pattern.shape, generator=generator) / 20
            self.match.bias.copy_(torch.tensor([-0.3, 0.0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.around(self.pool(torch.relu(self.match(x)))))


def plant(count: int, generator: np.random.Generator) -> tuple[torch.Tensor, SequenceSource]:
    """Return the pattern, and faint noise images each of which shows it somewhere off the middle."""
    pattern = generator.choice([0, 255], (PATTERN, PATTERN, 3)).astype(np.uint8)
    pictures = []
    for _ in range(count):
        image = generator.integers(118, 138, (SIZE, SIZE, 3), np.uint8)
        row, col = generator.choice([3, 4, 22, 23], 2)
        image[row : row + PATTERN, col : col + PATTERN] = pattern
        pictures.append(Image.fromarray(image))
    return torch.from_numpy(pattern / 255.0 - 0.5).permute(2, 0, 1).float() * 4, SequenceSource(pictures)
