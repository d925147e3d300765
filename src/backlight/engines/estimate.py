"""How long a plan will take on this machine, from a few timed passes, and how large its file will be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch

from backlight.engines.plan import Plan
from backlight.engines.work import projected_together
from backlight.images import load_batches
from backlight.network import Layer, Network
from backlight.projection import Projector, Unit
from backlight.scan import Scan, Scanner

_TILE_SECONDS, _WHOLE_SECONDS = 0.003, 0.01
_N_TIMED_LAYERS = 6
_N_TIMED_IMAGES = 8
_N_TIMED_UNITS = 16


@dataclass(frozen=True)
class Estimate:
    """What a build will cost, roughly.

    Attributes:
        scan_seconds: For the pass over all images.
        projection_seconds: For all projections of hits.
        file_bytes: Size of the finished atlas.
        band_seconds: For all projections of examples of bands.
        light_seconds: For keeping the images of hits whole.
    """

    scan_seconds: float
    projection_seconds: float
    file_bytes: float
    band_seconds: float = 0.0
    light_seconds: float = 0.0


def estimate(plan: Plan) -> Estimate:
    """Return what a build will cost: a batch of images is scanned, and units of a few layers are projected.

    Nothing is kept or written.
    """
    ids = range(min(_N_TIMED_IMAGES, plan.n_images))
    scanner = Scanner(plan.net, plan.layers)
    # The first pass is not timed: it allocates memory that later ones use again.
    blank = torch.zeros(1, *plan.net.input_shape)
    scanner.add(Scan.empty(plan.layers, plan.n_candidates), blank, [0], ["a blank"])
    begin = perf_counter()
    (batch,) = load_batches(plan.images, plan.preprocessing, ids, len(ids))
    names = ["an image"] * len(batch.ids)
    scanner.add(Scan.empty(plan.layers, plan.n_candidates), batch.tensor, batch.ids, names)
    each = (perf_counter() - begin) / len(ids)
    projecting = _projection_seconds(plan)
    return Estimate(
        scan_seconds=each * plan.n_images,
        projection_seconds=projecting,
        file_bytes=plan.file_bytes,
        band_seconds=projecting * plan.n_bands / max(plan.n_projections, 1),
        # The network runs again on each image, as in the scan.
        light_seconds=plan.n_wholes * (each + _WHOLE_SECONDS),
    )


def _projection_seconds(plan: Plan) -> float:
    """Time a few layers spread over the network, grouped as a build groups them; each layer counts as its nearest.

    The images of the hits are not known yet: they are drawn at random.
    """
    net, n_hits = plan.net, plan.n_hits
    generator = np.random.default_rng(0)
    images_of = [generator.integers(0, plan.n_images, n).tolist() for n in n_hits]
    total = _TILE_SECONDS * sum(n_hits)
    for rules, group, crops in projected_together(plan, images_of):
        timed = _spread_out(group)
        layers = [plan.layers[i] for i in group]
        projector = Projector(net, layers if crops is None else layers[:1], rules, crops, _N_TIMED_IMAGES)
        seconds = {i: _seconds(net, projector, plan.layers[i]) for i in timed}
        for i in group:
            total += n_hits[i] * seconds[min(timed, key=lambda t: abs(t - i))][0]
        if crops is None:
            n_images = len({image for i in group for image in images_of[i]})
            total += n_images * max(per_image for _, per_image in seconds.values())
    return total


def _spread_out(group: list[int]) -> list[int]:
    last = len(group) - 1
    return sorted({group[round(i * last / (_N_TIMED_LAYERS - 1))] for i in range(_N_TIMED_LAYERS)})


def _seconds(net: Network, projector: Projector, layer: Layer) -> tuple[float, float]:
    """Return the seconds for a further unit of a layer, and those for a further image."""
    image = torch.rand(net.input_shape)
    unit = Unit(layer.name, 0, *(size // 2 for size in layer.shape[1:]))
    if projector.crops is not None:
        n = projector.batch_size
        return _time(lambda: projector([image] * n, [unit] * n)) / n, 0.0
    # Time is (cost of an image) + n * (cost of a unit): two measurements give both.
    one = _time(lambda: projector([image], [unit]))
    many = _time(lambda: projector([image], [unit] * _N_TIMED_UNITS, [0] * _N_TIMED_UNITS))
    each = max(many - one, 0.0) / (_N_TIMED_UNITS - 1)
    return each, max(one - each, 0.0)


def _time(call: Callable[[], object]) -> float:
    call()
    begin = perf_counter()
    call()
    return perf_counter() - begin
