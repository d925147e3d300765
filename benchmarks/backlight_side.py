"""Backlight's side of the benchmarks: the only module that calls the code being measured.

A hit is a pair: the index of its image among the distinct images, and the unit.
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
from backlight.images import load_batches, open_images
from backlight.network import Layer, Network
from backlight.projection import Projections, Projector, Unit, group_layers, paying_crops
from backlight.scan import Scan, Scanner
from counting import forward_multiply_adds

BATCH_SIZE = 32  # of whole images, as `build` has it
TOP = 9
Hit = tuple[int, Unit]


class BacklightSide:
    """Projects hits of one layer, or of several layers together, as a build does.

    Args:
        net: The captured network.
        layers: The layers of the units, in the order of the graph.
    """

    def __init__(self, net: Network, layers: Sequence[Layer]) -> None:
        self.net, self.layers = net, tuple(layers)
        self._projectors: dict[bool, Projector] = {}

    def _projector(self, hits: Sequence[Hit]) -> Projector:
        """Return the projector that a build would choose for these hits: on whole images, or on one layer's crops."""
        n_images = len({image for image, _ in hits})
        crops = None
        if len(self.layers) == 1:
            crops = paying_crops(self.net, self.layers[0], DECONVNET, len(hits), n_images)
        if (crops is None) not in self._projectors:
            self._projectors[crops is None] = Projector(self.net, self.layers, DECONVNET, crops)
        return self._projectors[crops is None]

    def __call__(self, images: Tensor, hits: Sequence[Hit]) -> Projections:
        """Return the projections in the library's own form: this is what is timed.

        Args:
            images: (m, c, h, w) distinct inputs.
            hits: Units of the layers, sorted by image.
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
        """Return the multiply-adds of the forward passes that a call with these hits makes."""
        crops = self._projector(hits).crops
        if crops is None:
            return len({image for image, _ in hits}) * forward_multiply_adds(self.net, self.layers)
        return len(hits) * forward_multiply_adds(self.net, self.layers, (crops.rows.size, crops.cols.size))


def together_in_a_build(
    net: Network, layers: Sequence[Layer], images_of: Sequence[Sequence[int]]
) -> list[int]:
    """Return the indices of the layers that a build projects together, given the images of each layer's hits."""
    return next((g for g, crops in group_layers(net, layers, DECONVNET, images_of) if crops is None), [])


def scan_graph(net: Network, compiled: bool) -> Callable[[Tensor], object]:
    """Return a function that scans a batch of inputs for hits in the default layers, as a build does."""
    layers = net.default_layers
    scanner, state = Scanner(net, layers, compiled, falls_back=False), Scan.empty(layers, TOP)

    def call(batch: Tensor) -> None:
        first = state.n_images
        scanner.add(state, batch, range(first, first + len(batch)), [""] * len(batch))

    return call


def scan_files(net: Network, paths: Sequence[Path], scan: Callable[[Tensor], object] | None) -> None:
    """Read pictures as a build does, and scan them; with None, only read them."""
    assert net.preprocessing is not None
    source = open_images(paths)
    for batch in load_batches(source, net.preprocessing, range(len(source)), BATCH_SIZE):
        if scan is not None:
            scan(batch.tensor)


@dataclass(frozen=True)
class BuildOptions:
    """The options that benchmarks of a whole build vary.

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
    """Build an atlas as `backlight build` does."""
    backlight.build(
        net, images, path, options.layers, maps=options.maps, batch_size=BATCH_SIZE, progress=progress
    )
