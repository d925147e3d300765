"""How long a plan will take on this machine, from a few timed passes, and how large its file will be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backlight.engines.plan import Plan
from backlight.engines.probing import Clock, Span, time_of
from backlight.engines.work import projected_together
from backlight.images import load_batches
from backlight.network import Layer
from backlight.network.exact import ExactNetwork
from backlight.projection import Projector, strongest
from backlight.scan import Scan, Scanner
from backlight.storage.tiles import encode_patch, encode_projection, tile_box

_WHOLE_SECONDS, _SHARE_EXACT = 0.01, 0.25
_N_TIMED_LAYERS = 4
_N_TIMED_IMAGES = 8
_N_TIMED_UNITS = 16
_N_TILES = 4


@dataclass(frozen=True)
class Estimate:
    """What a build will cost, roughly.

    Attributes:
        scan: Seconds of the pass over all images.
        certify: Seconds of the second look at the images of hits, which finds out which hits are certain.
        project: Seconds of all projections of hits.
        band: Seconds of all projections of examples of bands.
        light: Seconds of keeping the images of hits whole.
        file_bytes: Size of the finished atlas.
    """

    scan: Span
    certify: Span
    project: Span
    band: Span
    light: Span
    file_bytes: float

    @property
    def total(self) -> Span:
        """Seconds of all of it."""
        return self.scan + self.certify + self.project + self.band + self.light


def estimate(plan: Plan, clock: Clock = perf_counter) -> Estimate:
    """Return what a build will cost: a batch of images is scanned, and units of a few layers are projected.

    Nothing is kept or written. Each pass is timed several times, so that other work on the machine counts less.

    Args:
        plan: The plan.
        clock: Seconds that only grow.
    """
    ids = range(min(_N_TIMED_IMAGES, plan.n_images))
    scanner = Scanner(plan.net, plan.layers)
    images: list[Tensor] = []

    def scan() -> None:
        (batch,) = load_batches(plan.images, plan.preprocessing, ids, len(ids))
        images[:] = batch.tensor
        names = ["an image"] * len(batch.ids)
        scanner.add(Scan.empty(plan.layers, plan.n_candidates), batch.tensor, batch.ids, names)

    each = time_of(scan, clock) * (1 / len(ids))
    probe = _Probe(plan, images or [torch.rand(plan.net.input_shape)], clock)
    projecting = probe.projecting()
    n_hit_images = plan.n_hit_images
    return Estimate(
        scan=each * plan.n_images,
        # The network runs again on each image of a hit; how many of them need float64 too is known after the scan.
        certify=(each + Span(0.0, _SHARE_EXACT * probe.exact().high)) * n_hit_images,
        project=projecting,
        band=projecting * (plan.n_bands / max(plan.n_projections, 1)),
        # And once more, as in the scan.
        light=(each + Span(_WHOLE_SECONDS, _WHOLE_SECONDS)) * (n_hit_images * plan.wholes),
        file_bytes=plan.file_bytes_of(probe.tile_bytes),
    )


class _Probe:
    """Times a few layers spread over the network, grouped as a build groups them; each layer counts as its nearest.

    Args:
        plan: The plan.
        images: A few inputs (c, h, w).
        clock: Seconds that only grow.

    Attributes:
        tile_bytes: Bytes of a pixel of a tile, of each layer of the plan that was tried, by its place.
    """

    def __init__(self, plan: Plan, images: Sequence[Tensor], clock: Clock) -> None:
        self._plan, self._images, self._clock = plan, images, clock
        self.tile_bytes: dict[int, float] = {}

    def exact(self) -> Span:
        """Return the seconds of an image in float64."""
        exact, (first, *_) = ExactNetwork(self._plan.net, self._plan.layers), self._images
        return time_of(lambda: exact(first, range(len(self._plan.layers))), self._clock)

    def projecting(self) -> Span:
        """Return the seconds of all projections of hits, whose images are not known yet: they are drawn at random."""
        plan = self._plan
        generator = np.random.default_rng(0)
        images_of = [generator.integers(0, plan.n_images, n).tolist() for n in plan.n_hits]
        total = Span()
        for rules, group, crops in projected_together(plan, images_of):
            layers = [plan.layers[i] for i in group]
            projector = Projector(
                plan.net, layers if crops is None else layers[:1], rules, crops, _N_TIMED_IMAGES
            )
            found = {i: self._layer(projector, i) for i in _spread_out(group)}
            for i in group:
                total += found[min(found, key=lambda own: abs(own - i))][0] * plan.n_hits[i]
            if crops is None:
                n_images = len({image for i in group for image in images_of[i]})
                total += (
                    max((per_image for _, per_image in found.values()), key=lambda own: own.low) * n_images
                )
        return total

    def _layer(self, projector: Projector, index: int) -> tuple[Span, Span]:
        """Return the seconds for a further unit of a layer with its tile, and those for a further image."""
        image, layer, clock = self._images[0], self._plan.layers[index], self._clock
        (unit,) = strongest(self._plan.net, image[None], layer.name, self._plan.channels[index][0])
        tile = self._tile(projector, index, layer)
        if projector.crops is not None:
            n = projector.batch_size
            return time_of(lambda: projector([image] * n, [unit] * n), clock) * (1 / n) + tile, Span()
        # Time is (cost of an image) + n * (cost of a unit): two measurements give both.
        one = time_of(lambda: projector([image], [unit]), clock)
        units = [unit] * _N_TIMED_UNITS
        many = time_of(lambda: projector([image], units, [0] * _N_TIMED_UNITS), clock)
        each = many.without(one) * (1 / (_N_TIMED_UNITS - 1))
        return each + tile, one.without(each)

    def _tile(self, projector: Projector, index: int, layer: Layer) -> Span:
        """Return the seconds that the tile of a unit takes, and note its size in bytes."""
        plan, size = self._plan, self._plan.preprocessing.crop
        channels, images = plan.channels[index], self._images[:_N_TILES]
        units = [
            strongest(plan.net, image[None], layer.name, channels[i % len(channels)])[0]
            for i, image in enumerate(images)
        ]
        boxes = [tile_box(layer.receptive_field, unit.row, unit.col, size).clip(*size) for unit in units]
        found = projector(images, units)
        signals = [found.on(i, box).permute(1, 2, 0).float().cpu().numpy() for i, box in enumerate(boxes)]
        patches = [_pixels(own)[box.slices()] for own, box in zip(images, boxes, strict=True)]
        coded = [*map(encode_patch, patches), *(encode_projection(own)[0] for own in signals)]
        self.tile_bytes[index] = sum(map(len, coded)) / max(sum(box.area for box in boxes), 1)
        return time_of(lambda: (encode_projection(signals[0]), encode_patch(patches[0])), self._clock)


def _pixels(image: Tensor) -> NDArray[np.uint8]:
    """Return an input (c, h, w) as a picture (h, w, c), or (h, w) of one channel."""
    values = image.permute(1, 2, 0).float().cpu().numpy()
    low, high = float(values.min()), float(values.max())
    scaled = np.rint((values - low) * (255 / ((high - low) or 1.0))).astype(np.uint8)
    return scaled if scaled.shape[2] == 3 else scaled[..., 0]


def _spread_out(group: list[int]) -> list[int]:
    last = len(group) - 1
    return sorted({group[round(i * last / (_N_TIMED_LAYERS - 1))] for i in range(_N_TIMED_LAYERS)})
