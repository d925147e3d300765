"""Backlight's side of the benchmarks: the only place that calls what is measured.

A hit is a pair: the position of its image among the distinct images, and the unit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import backlight
from backlight import DECONVNET
from backlight.geometry import Box
from backlight.network import Layer, Network
from backlight.projection import Projections, Projector, Unit, paying_crops
from counting import forward_multiply_adds

BATCH_SIZE = 32  # of whole images, as `build` has it
Hit = tuple[int, Unit]


class BacklightSide:
    """Projects hits of one layer as a build does.

    Args:
        net: The captured network.
        layer: The layer of the units.
    """

    def __init__(self, net: Network, layer: Layer) -> None:
        self.net, self.layer = net, layer
        self._projectors: dict[bool, Projector] = {}

    def _projector(self, hits: Sequence[Hit]) -> Projector:
        """Return what a build would choose for hits of this layer alone: whole images, or crops."""
        n_images = len({image for image, _ in hits})
        crops = paying_crops(self.net, self.layer, DECONVNET, len(hits), n_images)
        if (crops is None) not in self._projectors:
            self._projectors[crops is None] = Projector(self.net, [self.layer], DECONVNET, crops)
        return self._projectors[crops is None]

    def __call__(self, images: Tensor, hits: Sequence[Hit]) -> Projections:
        """Return the projections, as the library gives them: this is what is timed.

        Args:
            images: (m, c, h, w) distinct inputs.
            hits: Units of the layer, those of one image side by side.
        """
        return self._projector(hits)(images, [unit for _, unit in hits], [image for image, _ in hits])

    def whole(self, images: Tensor, hits: Sequence[Hit]) -> Tensor:
        """Return the projections (n, c, h, w) on whole images."""
        found, box = self(images, hits), Box(0, 0, *self.net.input_shape[1:])
        return torch.stack([found.on(i, box) for i in range(len(hits))])

    def values(self, images: Tensor, hits: Sequence[Hit]) -> Tensor:
        """Return the activations (n,) of the units."""
        return self(images, hits).values

    def forward_multiply_adds(self, hits: Sequence[Hit]) -> int:
        """Return the multiply-adds of the forward passes that a call really makes for these hits."""
        crops = self._projector(hits).crops
        if crops is None:
            return len({image for image, _ in hits}) * forward_multiply_adds(self.net, self.layer, None)
        return len(hits) * forward_multiply_adds(self.net, self.layer, (crops.rows.size, crops.cols.size))


@dataclass(frozen=True)
class BuildOptions:
    """What the benchmarks of a whole build vary.

    Attributes:
        maps: Feature maps of each layer to project; None for all.
        layers: Layer names; None for the default layers.
    """

    maps: int | None = None
    layers: tuple[str, ...] | None = None


def build(
    net: Network,
    images: Sequence[Path] | Path,
    path: Path,
    options: BuildOptions,
    progress: Callable[[str, int, int], None] | None = None,
) -> None:
    """Build an atlas; what `backlight build` does."""
    backlight.build(
        net, images, path, options.layers, maps=options.maps, batch_size=BATCH_SIZE, progress=progress
    )
