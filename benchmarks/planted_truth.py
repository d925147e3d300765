"""What is known of a planted network: its plan, and the truth about one unit."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from backlight import Unit
from planted_parts import absolute

Family = Literal[
    "max pool",
    "average pool",
    "strided convolution",
    "skip",
    "concatenation",
    "distractors",
    "alternatives",
    "inhibition",
    "cancellation",
    "saturation",
]

READS = 5
"""The unit reads a square of so many cells (outputs of the pool) a side."""
CELLS = 7
"""Cells a side of the whole map, so that the field is smaller than the image."""
THRESHOLD = 0.6
"""Of a detector, whose answer to its whole pattern is 1."""
NOISE = 0.1
"""Largest magnitude of the pixels outside the patterns, whose own are -1 and 1."""
FAMILIES: tuple[Family, ...] = get_args(Family)

Place = tuple[int, int]
"""Row and column in the map of detectors, or of a cell in the unit's square."""


@dataclass(frozen=True)
class Plan:
    """What a network is built of.

    Attributes:
        family: What lies between the detectors and the unit.
        seed: Of the patterns, their places and the weights.
        pattern: Side of the patterns in pixels.
        stride: Of the detectors.
        window: Side of the pool's window in detectors.
        overlaps: Whether the windows of the pool overlap by one.
        pool_first: Whether the pool comes before the detectors' rectifier.
        below: Rectified levels between the detectors and the pool, each of which passes every map on.
        above: Rectified levels between the pool and the unit.
        is_low: For alternatives, whether they merge right behind the detectors and not at the unit; for saturation,
            whether the unit reads a second piece.
    """

    family: Family
    seed: int
    pattern: int
    stride: int
    window: int
    overlaps: bool
    pool_first: bool
    below: int
    above: int
    is_low: bool

    @property
    def side(self) -> int:
        """Side of the map of detectors."""
        return CELLS * self.window + self.overlaps

    @property
    def pixels(self) -> int:
        """Side of the image."""
        return self.stride * (self.side - 1) + self.pattern


@dataclass(frozen=True, eq=False)
class Planted:
    """A network, an image, and the truth about one unit.

    Attributes:
        plan: What it is built of.
        model: The network; its layer `fire` has the unit, and `detect` the detectors.
        image: (3, h, w) the input.
        unit: The unit.
        pieces: (n, h, w) bool, the pixels of each pattern whose removal changes the unit.
        distractors: (n, h, w) bool, the pixels of each pattern that the unit ignores.
        possible: (h, w) bool, the pixels from which a path leads to the unit.
        faint: (h, w) bool, the pixels of a pattern too faint for its detector; none in most networks.
        expected: Where the detectors fire: maps, rows and columns.
    """

    plan: Plan
    model: nn.Module
    image: Tensor
    unit: Unit
    pieces: Tensor
    distractors: Tensor
    possible: Tensor
    faint: Tensor
    expected: frozenset[tuple[int, int, int]]

    @property
    def responsible(self) -> Tensor:
        """(h, w) bool, the pixels of all pieces."""
        return self.pieces.any(0)

    def activation(self, image: Tensor) -> float:
        """Return the unit's activation for an image (3, h, w)."""
        with torch.no_grad():
            found = self.model(image[None])
        return float(found[0, self.unit.channel, self.unit.row, self.unit.col])

    def fires(self) -> frozenset[tuple[int, int, int]]:
        """Return where the detectors answer above their threshold: maps, rows and columns."""
        with torch.no_grad():
            answers = self.model.detect(self.image[None])[0]
        return frozenset((int(c), int(i), int(j)) for c, i, j in (answers > 0).nonzero())


def reached(model: nn.Module, shape: tuple[int, ...] | torch.Size, unit: Unit) -> Tensor:
    """Return (h, w) bool: the pixels from which a path of nonzero weights leads to the unit, whatever the image.

    A twin of the network without signs, thresholds and rectifiers, whose max pools are averages, lets no path cancel.
    """
    twin = absolute(copy.deepcopy(model)).double()
    pixels = torch.ones(1, *shape, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(twin(pixels)[0, unit.channel, unit.row, unit.col], pixels)
    return slope[0].abs().sum(0) > 0
