"""How long a build will take and how large its file will be, from a few timed passes."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import torch

from backlight.atlas.plan import Plan
from backlight.images import ImageSource, load_batches
from backlight.network import Network
from backlight.projection import Projector, Unit, paying_crops
from backlight.scan import Scan, Scanner

_BYTES_PER_PIXEL = 1.0
_BYTES_PER_HIT = 700
_TILE_SECONDS = 0.003
_N_TIMED_LAYERS = 6
_N_TIMED_IMAGES = 8


@dataclass(frozen=True)
class Estimate:
    """What a build will cost, roughly.

    Attributes:
        scan_seconds: For the pass over all images.
        projection_seconds: For all projections.
        file_bytes: Size of the finished atlas.
    """

    scan_seconds: float
    projection_seconds: float
    file_bytes: float


def estimate(net: Network, source: ImageSource, plan: Plan) -> Estimate:
    """Return what a build will cost: a batch of the set is scanned, and units of a few layers are projected."""
    ids = range(min(_N_TIMED_IMAGES, len(source)))
    scanner = Scanner(net, plan.layers)
    scanner.add(Scan.empty(plan.layers, plan.top), torch.zeros(1, *net.input_shape), [0], ["a blank"])
    begin = perf_counter()
    (batch,) = load_batches(source, plan.preprocessing, ids, len(ids))
    names = ["an image"] * len(batch.ids)
    scanner.add(Scan.empty(plan.layers, plan.top), batch.tensor, batch.ids, names)
    scan_seconds = (perf_counter() - begin) / len(ids) * len(source)
    n_hits = [len(channels) * min(plan.top, len(source)) for channels in plan.channels]
    areas = [plan.tile_area(layer) for layer in plan.layers]
    file_bytes = sum(
        n * (area * _BYTES_PER_PIXEL + _BYTES_PER_HIT) for n, area in zip(n_hits, areas, strict=True)
    )
    n_maps = sum(layer.n_maps for layer in plan.layers)
    return Estimate(scan_seconds, _projection_seconds(net, plan, n_hits), file_bytes + n_maps * 1000)


def _projection_seconds(net: Network, plan: Plan, n_hits: list[int]) -> float:
    """Time a batch of projections in a few layers spread over the network; each layer counts as its nearest."""
    count = len(plan.layers)
    timed = sorted({round(i * (count - 1) / (_N_TIMED_LAYERS - 1)) for i in range(_N_TIMED_LAYERS)})
    image = torch.rand(net.input_shape)
    seconds = {}
    for index in timed:
        layer = plan.layers[index]
        n_units, n_images = n_hits[index], min(n_hits[index], plan.n_images)
        crops = paying_crops(net, layer, plan.rules, n_units, n_images)
        projector = Projector(net, [layer], plan.rules, crops, _N_TIMED_IMAGES)
        unit = Unit(layer.name, 0, *(size // 2 for size in layer.shape[1:]))
        size = projector.batch_size
        projector([image], [unit])
        begin = perf_counter()
        projector([image] * size, [unit] * size)
        seconds[index] = (perf_counter() - begin) / size
    nearest = [min(timed, key=lambda t: abs(t - i)) for i in range(count)]
    return sum(n * (seconds[t] + _TILE_SECONDS) for n, t in zip(n_hits, nearest, strict=True))
