"""Projection: the time of a projection from every layer, against Captum, zennit-crp, the naive loop and the floor.

The hits are real: photographs are scanned, and all hits of a few of them are projected, so that as many hits share an
image as in a build. All contestants get the same units, images and weights. Prints a table for each network and writes
benchmarks/results/projection.json.

    python benchmarks/projection.py [--networks vgg16 alexnet] [--units 48] [--images 1000] [--quick]
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from statistics import mean
from typing import Any

import torch
from torch import Tensor, nn

from backlight import scan
from backlight.network import Layer, Network
from backlight.projection import Unit
from backlight.scan import LayerScan
from backlight_side import BacklightSide, Hit, together_in_a_build
from common import (
    SEED,
    load_network,
    machine,
    median_seconds,
    photographs,
    settings_from,
    sgemm_gflops,
    use_all_cores,
    write_results,
)
from counting import cone_multiply_adds, forward_multiply_adds
from peers import CaptumSide, NaiveSide, ZennitSide, with_own_rectifiers
from projection_tables import achieved_rate, print_network, summarise

Peer = Callable[[Tensor, list[Unit]], Tensor]


@dataclass(frozen=True)
class Settings:
    """How much is measured.

    Attributes:
        networks: Classifiers of torchvision.
        images: Photographs to scan.
        units: Hits of each layer to project, approximately.
        together_units: Hits to project of all layers that share their forward passes, approximately.
        peer_units: How many of them Captum and zennit project; their time does not depend on the unit.
        naive_units: How many of them the naive loop projects.
        batch_sizes: Batch sizes to try for Captum and zennit.
        repeats: Timed calls at most, after one warm-up call.
        sgemm_sizes: Sizes of the matrices that measure the machine's rate.
    """

    networks: tuple[str, ...] = ("vgg16", "squeezenet1_0", "resnet50", "alexnet")
    images: int = 1000
    units: int = 48
    together_units: int = 192
    peer_units: int = 16
    naive_units: int = 3
    batch_sizes: tuple[int, ...] = (1, 4, 8, 16, 32)
    repeats: int = 5
    sgemm_sizes: tuple[int, ...] = (2048, 3072, 4096)


QUICK = Settings(
    images=100, units=16, together_units=32, peer_units=4, naive_units=1, batch_sizes=(1, 4), repeats=2
)


@dataclass(frozen=True)
class Sample:
    """Hits to project, from a few images of the set and sorted by image.

    Attributes:
        images: (m, c, h, w) the distinct inputs.
        hits: The units, each with the index of its image.
    """

    images: Tensor
    hits: list[Hit]

    def first(self, count: int) -> tuple[Tensor, list[Unit]]:
        """Return an image and a unit for each of `count` hits, starting over if there are fewer."""
        hits = list(islice(cycle(self.hits), count))
        return self.images[[i for i, _ in hits]], [unit for _, unit in hits]


def run(settings: Settings, keep: Callable[[dict[str, Any]], object] = lambda _: None) -> dict[str, Any]:
    """Return the time of projections, for each network and layer, as plain JSON.

    Args:
        settings: How much is measured.
        keep: Called with the results so far after each network; all of them take an hour.
    """
    use_all_cores()
    sgemm = sgemm_gflops(settings.sgemm_sizes)
    networks: list[dict[str, Any]] = []
    results = {"machine": machine(sgemm), "settings": asdict(settings), "networks": networks}
    for name in settings.networks:
        networks.append(_measure(name, sgemm, settings))
        keep(results)
    return results


def _measure(name: str, sgemm: float, settings: Settings) -> dict[str, Any]:
    model, net, is_random = load_network(name)
    paths = photographs(settings.images)
    layers = net.default_layers
    found = scan(net, paths, layers, top=9)
    samples = {
        y.name: sample_hits(net, y.name, hits_by_image(y, found.layers[y.name]), paths, settings.units)
        for y in layers
    }
    peers = _Peers(name, model, net, samples, settings)
    rows = [_row(net, y, samples[y.name], peers, sgemm, settings) for y in layers if samples[y.name].hits]
    together = _together(net, layers, found.layers, paths, settings)
    summary = summarise(rows, together) | achieved_rate(name, rows, together, sgemm)
    result = {
        "network": name,
        "weights": "random" if is_random else "trained",
        "images": len(paths),
        "forward_multiply_adds": forward_multiply_adds(net),
        "batch_sizes": peers.batch_sizes,
        "together": together,
        "summary": summary,
        "layers": rows,
    }
    print_network(result)
    return result


def hits_by_image(layer: Layer, found: LayerScan) -> dict[int, list[Unit]]:
    """Return a layer's hits by the image that they are in."""
    by_image: dict[int, list[Unit]] = defaultdict(list)
    hits = found.hits
    for channel, rank in zip(*(hits.values > 0).nonzero(), strict=True):
        row, col = (int(v) if v >= 0 else None for v in hits.places[channel, rank])
        by_image[int(hits.image_ids[channel, rank])].append(Unit(layer.name, int(channel), row, col))
    return by_image


def sample_hits(
    net: Network, name: str, by_image: dict[int, list[Unit]], paths: Sequence[Any], n_units: int
) -> Sample:
    """Return all hits of randomly drawn images, until there are `n_units`; at most twice as many."""
    order = sorted(by_image)
    random.Random(f"{SEED} {name}").shuffle(order)
    chosen, pairs = [], []
    for image_id in order:
        if len(pairs) >= n_units:
            break
        pairs += [(len(chosen), unit) for unit in by_image[image_id]]
        chosen.append(paths[image_id])
    pairs = pairs[: 2 * n_units]
    images = net.prepare(chosen[: pairs[-1][0] + 1]) if pairs else torch.zeros(0, *net.input_shape)
    return Sample(images, pairs)


def _together(
    net: Network,
    layers: Sequence[Layer],
    found: dict[str, LayerScan],
    paths: Sequence[Any],
    settings: Settings,
) -> dict[str, Any] | None:
    """Return the time of a projection in the layers that a build projects together, image by image."""
    of_layers = [hits_by_image(layer, found[layer.name]) for layer in layers]
    group = together_in_a_build(net, layers, [[i for i in own for _ in own[i]] for own in of_layers])
    if not group:
        return None
    by_image: dict[int, list[Unit]] = defaultdict(list)
    for i in group:
        for image_id, units in of_layers[i].items():
            by_image[image_id] += units
    sample = sample_hits(net, "together", by_image, paths, settings.together_units)
    side, hits = BacklightSide(net, [layers[i] for i in group]), sample.hits
    print(f"{net.name}: {len(hits)} units of {len(group)} layers together", file=sys.stderr)
    seconds = median_seconds(lambda: side(sample.images, hits), settings.repeats) / len(hits)
    return {
        "layers": [layers[i].name for i in group],
        "units": len(hits),
        "images": len(sample.images),
        "backlight_ms": seconds * 1e3,
        "forward_multiply_adds": side.forward_multiply_adds(hits) / len(hits),
    }


class _Peers:
    """The other tools, for the layers of one network, each at its fastest batch size."""

    def __init__(
        self, name: str, model: nn.Module, net: Network, samples: dict[str, Sample], settings: Settings
    ) -> None:
        self.model = model.requires_grad_(False)
        self.settings, self.samples = settings, samples
        self.modules = dict(with_own_rectifiers(model).named_modules())
        self.kinds: dict[str, type] = {"captum": CaptumSide}
        if name == "vgg16" and ZennitSide.is_installed():
            self.kinds["zennit"] = ZennitSide
        self.order = [y.name for y in net.default_layers if y.name in self.modules and samples[y.name].hits]
        probes = sorted({0, len(self.order) // 2, len(self.order) - 1}) if self.order else []
        self.batch_sizes = {
            kind: {self.order[i]: self._best_batch_size(kind, self.order[i]) for i in probes}
            for kind in self.kinds
        }

    def make(self, kind: str, layer: str) -> Peer:
        return self.kinds[kind](self.model, layer)  # type: ignore[no-any-return]

    def batch_size(self, kind: str, layer: str) -> int:
        """Return the best batch size of the nearest layer for which it was determined."""
        place = self.order.index(layer)
        nearest = min(self.batch_sizes[kind], key=lambda name: abs(self.order.index(name) - place))
        return self.batch_sizes[kind][nearest]

    def _best_batch_size(self, kind: str, layer: str) -> int:
        peer, sample = self.make(kind, layer), self.samples[layer]
        peer(*sample.first(1))
        taken = {
            size: median_seconds(lambda: peer(*sample.first(size)), repeats=2, budget_s=0) / size  # noqa: B023
            for size in self.settings.batch_sizes
        }
        return min(taken, key=lambda size: taken[size])


def _row(
    net: Network, layer: Layer, sample: Sample, peers: _Peers, sgemm: float, settings: Settings
) -> dict[str, Any]:
    """Return the results for one layer; times per projection, in milliseconds."""
    side, hits = BacklightSide(net, [layer]), sample.hits
    print(f"{net.name} {layer.name}: {len(hits)} units of {len(sample.images)} images", file=sys.stderr)
    own_s = median_seconds(lambda: side(sample.images, hits), settings.repeats) / len(hits)
    cone = mean(cone_multiply_adds(net, layer, unit.row, unit.col) for _, unit in hits)
    floor_s = 2 * cone / (sgemm * 1e9)
    row = {
        "layer": layer.name,
        "maps": layer.n_maps,
        "field": list(layer.receptive_field.size) if layer.receptive_field else None,
        "units": len(hits),
        "images": len(sample.images),
        "backlight_ms": own_s * 1e3,
        "floor_ms": floor_s * 1e3,
        "over_floor": own_s / floor_s if floor_s else None,
        "cone_multiply_adds": cone,
        "forward_multiply_adds": side.forward_multiply_adds(hits) / len(hits),
    }
    if layer.name not in peers.modules:
        return row | {"skipped": "not the output of a module, so Captum cannot reach it"}
    return row | _against_peers(layer, sample, side, peers, settings)


def _against_peers(
    layer: Layer, sample: Sample, side: BacklightSide, peers: _Peers, settings: Settings
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind in peers.kinds:
        peer, size = peers.make(kind, layer.name), peers.batch_size(kind, layer.name)
        n_calls = max(2, -(-settings.peer_units // size))
        images, units = sample.first(size)
        taken = median_seconds(lambda: peer(images, units), n_calls)  # noqa: B023
        found[f"{kind}_ms"] = taken / size * 1e3
        found[f"{kind}_difference"] = _difference(side, sample, peer(images, units))
    naive = NaiveSide(peers.model, layer.name)
    images, units = sample.first(settings.naive_units)
    found["naive_ms"] = median_seconds(lambda: naive(images, units), settings.repeats) / len(units) * 1e3
    found["naive_difference"] = _difference(side, sample, naive(images, units))
    return found


def _difference(side: BacklightSide, sample: Sample, signals: Tensor) -> float:
    """Return the largest difference from another tool's signals (for seeds of one), relative to the largest value."""
    count = min(len(signals), len(sample.hits))
    hits = sample.hits[:count]
    own = side.whole(sample.images, hits)
    theirs = signals[:count] * side.values(sample.images, hits)[:, None, None, None]
    scale = theirs.flatten(1).abs().amax(1).clamp_min(1e-30)
    return float(((own - theirs).flatten(1).abs().amax(1) / scale).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", metavar="NAME")
    parser.add_argument("--units", type=int, help="hits of each layer")
    parser.add_argument("--images", type=int, help="photographs to scan")
    parser.add_argument("--quick", action="store_true", help="few units and repeats")
    options = parser.parse_args()
    run(settings_from(options, Settings(), QUICK), keep=lambda results: write_results("projection", results))


if __name__ == "__main__":
    main()
