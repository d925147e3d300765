"""The scene of a planted network: its patterns and their places in the image, and the levels above the detectors."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress

import numpy as np
import torch
from torch import Tensor, nn

from backlight import Unit
from planted_parts import conv, gather, relay
from planted_truth import CELLS, NOISE, READS, THRESHOLD, Place, Plan, Planted, reached


class NoRoomError(Exception):
    """What was drawn does not fit into the image; to be drawn again."""


class Scene:
    """What the builders of all families share: patterns, their places, and the levels between detectors and unit.

    Args:
        plan: What to build.
        rng: Of all draws.
    """

    def __init__(self, plan: Plan, rng: np.random.Generator) -> None:
        self.plan, self.rng = plan, rng
        self.corner: Place = (int(rng.integers(CELLS - READS + 1)), int(rng.integers(CELLS - READS + 1)))
        self.image = torch.from_numpy(rng.uniform(-NOISE, NOISE, (3, plan.pixels, plan.pixels))).float()
        self.taken = torch.zeros(plan.pixels, plan.pixels, dtype=torch.bool)
        self.expected: set[tuple[int, int, int]] = set()
        self.gains: dict[int, float] = {}

    def pattern(self, side: int | None = None) -> Tensor:
        """Return a pattern (3, side, side) of -1 and 1."""
        side = side or self.plan.pattern
        return torch.from_numpy(self.rng.choice([-1.0, 1.0], (3, side, side))).float()

    def cell(self) -> Place:
        """Return a cell of the unit's square, clear of its rim (whose windows may be shared with cells outside)."""
        return int(self.rng.integers(1, READS - 1)), int(self.rng.integers(1, READS - 1))

    def in_cell(self, cell: Place) -> Place:
        """Return a place of the map of detectors in the window of a cell, but in no other's."""
        first, window = int(self.plan.overlaps), self.plan.window
        return tuple(  # type: ignore[return-value]
            (corner + own) * window + int(self.rng.integers(first, window))
            for corner, own in zip(self.corner, cell, strict=True)
        )

    def anywhere(self) -> Place:
        """Return a place anywhere in the map of detectors."""
        return int(self.rng.integers(self.plan.side)), int(self.rng.integers(self.plan.side))

    def show(self, pattern: Tensor, place: Place, maps: tuple[int, ...], contrast: float = 1.0) -> Tensor:
        """Draw a pattern where the detectors of some maps see it, and return its pixels.

        A pattern larger than those of the plan, seen by padded detectors, sticks out by as much on each side.

        Raises:
            NoRoomError: It would leave the image or cover another.
        """
        side = pattern.shape[-1]
        out = (side - self.plan.pattern) // 2
        top, left = (self.plan.stride * i - out for i in place)
        if min(top, left) < 0 or max(top, left) + side > self.plan.pixels:
            raise NoRoomError
        box = (slice(top, top + side), slice(left, left + side))
        if self.taken[box].any():
            raise NoRoomError
        self.taken[box] = True
        self.image[:, box[0], box[1]] = contrast * pattern
        self.expected |= {(c, *place) for c in maps if contrast > THRESHOLD}
        pixels = torch.zeros_like(self.taken)
        pixels[box] = True
        return pixels

    def relays(self, n_maps: int, count: int, name: str) -> OrderedDict[str, nn.Module]:
        """Return rectified levels that pass each map on, times a gain that `gains` keeps."""
        found: OrderedDict[str, nn.Module] = OrderedDict()
        for i in range(count):
            gains = self.rng.choice([0.5, 1.0, 2.0], n_maps)
            found[f"{name}{i}"] = relay(torch.from_numpy(gains).float())
            found[f"{name}{i}_relu"] = nn.ReLU()
            for c, gain in enumerate(gains):
                self.gains[c] = self.gains.get(c, 1.0) * float(gain)
        return found

    def pool(self, n_maps: int) -> nn.Module:
        """Return the family's pool."""
        window = self.plan.window
        kernel = window + self.plan.overlaps
        if self.plan.family == "average pool":
            return nn.AvgPool2d(kernel, window)
        if self.plan.family == "strided convolution":
            return gather(n_maps, kernel, window)
        return nn.MaxPool2d(kernel, window)

    def assemble(
        self,
        detect: nn.Module,
        reads: list[tuple[int, Place, float]],
        bias: float,
        special: OrderedDict[str, nn.Module] | None = None,
        low: OrderedDict[str, nn.Module] | None = None,
        n_maps: int | None = None,
    ) -> nn.Sequential:
        """Return the network.

        Args:
            detect: The detectors, before their rectifier.
            reads: What the unit reads: a map, a cell, and how much the activation of the map's detectors counts.
            bias: Of the unit.
            special: Levels right below the unit.
            low: Levels right behind the detectors.
            n_maps: How many maps there are behind `low`; None for those of the detectors.
        """
        n_maps = n_maps or _width(detect)
        levels: OrderedDict[str, nn.Module] = OrderedDict(detect=detect)
        if self.plan.pool_first:
            levels["pool"] = self.pool(n_maps)
        levels["detect_relu"] = nn.ReLU()
        levels.update(low or {})
        levels.update(self.relays(n_maps, self.plan.below, "below"))
        if not self.plan.pool_first:
            levels["pool"] = self.pool(n_maps)
        levels.update(self.relays(n_maps, self.plan.above, "above"))
        levels.update(special or {})
        weight = torch.zeros(1, n_maps, READS, READS)
        for c, (row, col), value in reads:
            weight[0, c, row, col] = value / self.gains.get(c, 1.0)
        levels["unit"] = conv(weight, torch.tensor([bias]))
        levels["fire"] = nn.ReLU()
        return nn.Sequential(levels)

    def distract(
        self, patterns: list[tuple[Tensor, tuple[int, ...]]], read: list[tuple[int, Place]]
    ) -> list[Tensor]:
        """Draw patterns where the unit reads none of their maps; return the pixels of those that found room."""
        found = []
        for pattern, maps in patterns:
            place = self.anywhere()
            if any(c in maps and self.near(place, cell) for c, cell in read):
                continue
            with suppress(NoRoomError):
                found.append(self.show(pattern, place, maps))
        return found

    def near(self, place: Place, cell: Place, margin: int = 3) -> bool:
        """Return whether a place lies in the window of a cell, or less than a margin from it."""
        window = self.plan.window
        lows = [(corner + own) * window for corner, own in zip(self.corner, cell, strict=True)]
        return all(
            low - margin <= at < low + window + self.plan.overlaps + margin
            for low, at in zip(lows, place, strict=True)
        )

    def finish(
        self, model: nn.Module, pieces: list[Tensor], distractors: list[Tensor], faint: Tensor | None = None
    ) -> Planted:
        """Return the network with its truth."""
        unit = Unit("fire", 0, *self.corner)
        none = torch.zeros(0, *self.taken.shape, dtype=torch.bool)
        return Planted(
            self.plan,
            model.eval(),
            self.image,
            unit,
            torch.stack(pieces),
            torch.stack(distractors) if distractors else none,
            reached(model, self.image.shape, unit),
            torch.zeros_like(self.taken) if faint is None else faint,
            frozenset(self.expected),
        )


def _width(detect: nn.Module) -> int:
    return sum(m.out_channels for m in detect.modules() if isinstance(m, nn.Conv2d))
