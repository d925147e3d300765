"""One device, such as a GPU: is it right, how fast is it, and what is it bound by? In six minutes, without downloads.

Weights are random and images synthetic and in memory, so that only the device is measured. Prints one table and writes
benchmarks/results/device-NAME.json. float32 is computed as such: TF32 is off, unless a column says otherwise.

    python benchmarks/device.py [--device cuda] [--quick]
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.models import get_model

import backlight
from backlight import Preprocessing, capture, project
from backlight.network import Layer, Network
from backlight.projection import Unit
from backlight_side import BacklightSide, Hit, scan_graph
from common import SEED, machine, number, print_table, ratio, settings_from, write_results


@dataclass(frozen=True)
class Settings:
    """How much is measured.

    Attributes:
        correct: Classifiers of torchvision whose projections are compared with float64 on the CPU.
        fast: Those whose scan and projections are timed.
        size: Side of their inputs in pixels.
        units: Units of each layer to project at a time, 16 of each image.
        layers: Layers of each network whose projections are timed, evenly spread.
        batches: Batch sizes to try for the bare passes.
        repeats: Timed calls at most, after one that warms up.
        budget_s: Seconds for one measurement.
        sgemm_size: Side of the matrices that measure the device's rate.
        copied_mb: Megabytes that are copied to measure its memory.
    """

    correct: tuple[str, ...] = (
        *("alexnet", "vgg11", "squeezenet1_1", "resnet18", "mobilenet_v2", "densenet121", "googlenet"),
        "convnext_tiny",
    )
    fast: tuple[str, ...] = ("resnet50", "vgg16", "squeezenet1_0", "convnext_tiny")
    size: int = 224
    units: int = 128
    layers: int = 6
    batches: tuple[int, ...] = (32, 128, 512)
    repeats: int = 5
    budget_s: float = 2.0
    sgemm_size: int = 8192
    copied_mb: int = 1024


QUICK = Settings(
    ("squeezenet1_1",), ("squeezenet1_0",), 64, 8, 2, (2, 4), 2, 0.5, sgemm_size=512, copied_mb=16
)
BOUND = 1e-3
"""How far a projection in float32 may be from that in float64, as a share of its length: norm of the difference."""

IMAGES_OF_UNITS = 16
_COUNTED = (1, 16, 128)


def run(device: torch.device, settings: Settings) -> dict[str, Any]:
    """Return everything that is measured of a device, as plain JSON."""
    rates = {"sgemm_gflops": _sgemm(device, settings), "copy_gb_s": _copy_rate(device, settings)}
    results: dict[str, Any] = {
        "device": _name(device),
        "machine": machine(rates["sgemm_gflops"]) | rates,
        "settings": asdict(settings),
        "bound": BOUND,
        "correct": [_correct(name, device, settings) for name in settings.correct],
        "same_hits": _same_hits(device, settings),
        "fast": [_fast(name, device, settings) for name in settings.fast],
    }
    return results


def _correct(name: str, device: torch.device, settings: Settings) -> dict[str, Any]:
    """Return how far projections of two units of each layer are from those in float64 on the CPU."""
    exact, here = _network(name, settings, torch.float64), _network(name, settings, device=device)
    images = _images(4, settings)
    worst, n_off, n_units = 0.0, 0, 0
    for layer in _spread(exact.default_layers, settings.layers):
        units = _units(layer, 4)
        right = project(exact, images.double(), units, seed=1.0)
        found = project(here, images.to(device), units, seed=1.0).cpu().double()
        errors = (found - right).flatten(1).norm(dim=1) / right.flatten(1).norm(dim=1).clamp_min(1e-30)
        worst, n_off = max(worst, float(errors.max())), n_off + int((errors > BOUND).sum())
        n_units += len(units)
    return {"network": name, "units": n_units, "beyond": n_off, "worst": worst}


def _same_hits(device: torch.device, settings: Settings) -> dict[str, Any]:
    """Return how many certain hits of small atlases that were built on the CPU and on the device are the same."""
    pictures = list((_images(40, settings).permute(0, 2, 3, 1) * 255).byte().numpy())
    n_same = n_certain = 0
    with TemporaryDirectory() as folder:
        atlases = [
            backlight.build(
                _network(settings.correct[0], settings, device=own), pictures, f"{folder}/{i}.atlas", maps=8
            )
            for i, own in enumerate((torch.device("cpu"), device))
        ]
        for layer in atlases[0].layers:
            for channel in layer.channels:
                one, other = (own[layer.name][channel] for own in atlases)
                certain = min(one.n_certain or 0, other.n_certain or 0)
                pairs = zip(one.hits[:certain], other.hits[:certain], strict=True)
                n_same += sum((a.image_id, a.row, a.col) == (b.image_id, b.row, b.col) for a, b in pairs)
                n_certain += certain
        for own in atlases:
            own.close()
    return {"network": settings.correct[0], "certain": n_certain, "same": n_same}


def _fast(name: str, device: torch.device, settings: Settings) -> dict[str, Any]:
    """Return the rates of a network's scan and projections beside those of bare passes."""
    print(f"{name} …", file=sys.stderr)
    net = _network(name, settings, device=device)
    bare, size = _bare(name, device, settings, backward=False)
    both, _ = _bare(name, device, settings, backward=True)
    batch = _images(size, settings).to(device)
    with _peak(device) as peak:
        scan = _rate(lambda: scan_graph_of(net)(batch), size, device, settings)
    layers = [_layer(net, layer, device, settings) for layer in _spread(net.default_layers, settings.layers)]
    of_all = sum(own["maps"] for own in layers) / sum(own["maps"] / own["per_s"] for own in layers)
    return {
        "network": name,
        "batch": size,
        "forward_per_s": bare,
        "forward_tf32_per_s": _bare(name, device, settings, backward=False, tf32=True)[0],
        "forward_backward_per_s": both,
        "scan_per_s": scan,
        "scan_of_forward": scan / bare,
        "scan_peak_mb": peak[0],
        "projections_per_s": of_all,
        "projections_of_forward_backward": of_all / both,
        "layers": layers,
        "captum_per_s": _captum(name, net, layers, device, settings),
    }


def scan_graph_of(net: Network) -> Callable[[Tensor], object]:
    """Return what scans a batch as a build does, without compiling."""
    if not hasattr(net, "_benchmarked"):
        net._benchmarked = scan_graph(net, compiled=False)  # type: ignore[attr-defined]
    return net._benchmarked  # type: ignore[attr-defined, no-any-return]


def _layer(net: Network, layer: Layer, device: torch.device, settings: Settings) -> dict[str, Any]:
    """Return the rate of projections of one layer, and how many operators its walk takes for so many units."""
    n_images = max(1, settings.units // IMAGES_OF_UNITS)
    images, side = _images(n_images, settings).to(device), BacklightSide(net, [layer])
    hits = [(i % n_images, unit) for i, unit in enumerate(_units(layer, settings.units))]
    hits.sort(key=lambda hit: hit[0])
    with _peak(device) as peak:
        per_s = _rate(lambda: side(images, hits), len(hits), device, settings)
    counts = {str(n): operators_of(net, layer, images[:1], n) for n in _COUNTED}
    return {
        "layer": layer.name,
        "maps": layer.n_maps,
        "per_s": per_s,
        "peak_mb": peak[0],
        "nodes": len(net.module.graph.nodes),
        "operators": counts,
    }


def operators_of(net: Network, layer: Layer, image: Tensor, n_units: int) -> int:
    """Return how many operators projecting so many units of one image takes, the forward pass included."""
    hits: list[Hit] = [(0, unit) for unit in _units(layer, n_units)]
    side = BacklightSide(net, [layer])
    side(image, hits)
    with _Counting() as counting:
        side(image, hits)
    return counting.counts.total()


class _Counting(TorchDispatchMode):
    """Counts the operators that reach the device."""

    def __init__(self) -> None:
        super().__init__()
        self.counts = Counter[str]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[str(func)] += 1
        return func(*args, **(kwargs or {}))


def _captum(
    name: str, net: Network, layers: Sequence[dict[str, Any]], device: torch.device, settings: Settings
) -> float | None:
    """Return Captum's rate in the middle one of the layers; None where it is not installed or cannot do it."""
    if find_spec("captum") is None:
        return None
    from peers import CaptumSide

    layer = net.layer(layers[len(layers) // 2]["layer"])
    if not layer.is_spatial or layer.operator != "relu":
        return None
    side, units = CaptumSide(_model(name).to(device), layer.name), _units(layer, 16)
    images = _images(16, settings).to(device)
    return _rate(lambda: side(images, units), len(units), device, settings)


def _bare(
    name: str, device: torch.device, settings: Settings, backward: bool, tf32: bool = False
) -> tuple[float, int]:
    """Return images a second of the bare model at its best batch size, and that size."""
    model = _model(name).to(device, memory_format=torch.channels_last)
    best = 0.0, settings.batches[0]
    with _tf32(tf32):
        for size in settings.batches:
            images = _images(size, settings).to(device, memory_format=torch.channels_last)
            images.requires_grad_(backward)

            def call(images: Tensor = images) -> None:
                if backward:
                    torch.autograd.grad(model(images).sum(), images)
                else:
                    with torch.no_grad():
                        model(images)

            try:
                best = max(best, (_rate(call, size, device, settings), size))
            except torch.OutOfMemoryError:
                break
    return best


def _rate(call: Callable[[], object], count: int, device: torch.device, settings: Settings) -> float:
    """Return how many a second a call does that does so many, by the median of a few calls."""
    taken: list[float] = []
    for i in range(settings.repeats + 1):
        start = time.perf_counter()
        call()
        _wait(device)
        if i:
            taken.append(time.perf_counter() - start)
        if sum(taken) > settings.budget_s:
            break
    return count / median(taken)


def _sgemm(device: torch.device, settings: Settings) -> float:
    """Return the device's rate for products of float32 matrices without TF32, in GFLOP/s."""
    one = torch.rand(settings.sgemm_size, settings.sgemm_size, device=device)
    with _tf32(False):
        return _rate(lambda: one @ one, 2 * settings.sgemm_size**3, device, settings) / 1e9


def _copy_rate(device: torch.device, settings: Settings) -> float:
    """Return how many GB a second the device's memory reads and writes."""
    one = torch.rand(settings.copied_mb * 2**18, device=device)
    other = torch.empty_like(one)
    return _rate(lambda: other.copy_(one), 2 * one.nbytes, device, settings) / 1e9


@contextmanager
def _tf32(is_on: bool) -> Iterator[None]:
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if is_on else "highest")
    torch.backends.cudnn.allow_tf32 = is_on
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


@contextmanager
def _peak(device: torch.device) -> Iterator[list[float]]:
    """Hand out a list that gets the most memory that the block holds, in MB; 0 where the device does not say."""
    found: list[float] = []
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    yield found
    found.append(torch.cuda.max_memory_allocated(device) / 1e6 if device.type == "cuda" else 0.0)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _model(name: str) -> nn.Module:
    torch.manual_seed(SEED)
    options = {"init_weights": True, "aux_logits": False} if name == "googlenet" else {}
    return get_model(name, weights=None, **options).eval()


def _network(
    name: str, settings: Settings, dtype: torch.dtype = torch.float32, device: torch.device | None = None
) -> Network:
    model = _model(name).to(device or torch.device("cpu"), dtype)
    return capture(model, (3, settings.size, settings.size), Preprocessing.default(3, settings.size))


def _images(count: int, settings: Settings) -> Tensor:
    """Return synthetic images (n, 3, h, w) in 0..1: smooth noise, as photographs have neighbours alike."""
    drawn = torch.rand(count, 3, 12, 12, generator=torch.Generator().manual_seed(SEED))
    return nn.functional.interpolate(drawn, settings.size, mode="bicubic").clamp(0, 1)


def _units(layer: Layer, count: int) -> list[Unit]:
    """Return random units of a layer, the same in every run."""
    drawn = np.random.default_rng(SEED)
    sizes = layer.shape
    places = (tuple(int(drawn.integers(size)) for size in sizes) for _ in range(count))
    return [Unit(layer.name, *place) for place in places]


def _spread(layers: Sequence[Layer], count: int) -> list[Layer]:
    """Return so many layers, evenly spread, the last among them."""
    at = np.linspace(0, len(layers) - 1, min(count, len(layers))).round().astype(int)
    return [layers[i] for i in dict.fromkeys(at.tolist())]


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type}"


def print_results(results: dict[str, Any]) -> None:
    """Print what was measured, as tables."""
    rates = results["machine"]
    print(
        f"{results['device']}: sgemm {number(rates['sgemm_gflops'])} GFLOP/s, copy {number(rates['copy_gb_s'])} GB/s"
    )
    print_table(
        f"Projections against float64 on the CPU, within {BOUND:g}",
        ("network", "units", "beyond", "worst"),
        [(r["network"], str(r["units"]), str(r["beyond"]), number(r["worst"])) for r in results["correct"]],
    )
    same = results["same_hits"]
    print(f"certain hits that are the same as on the CPU: {same['same']} of {same['certain']}\n")
    header = (
        "network",
        "forward/s",
        "TF32",
        "scan/s",
        "of forward",
        "fwd+bwd/s",
        "projections/s",
        "of fwd+bwd",
    )
    rows = [
        (
            r["network"],
            *(number(r[key]) for key in ("forward_per_s", "forward_tf32_per_s", "scan_per_s")),
            ratio(r["scan_of_forward"]),
            *(number(r[key]) for key in ("forward_backward_per_s", "projections_per_s")),
            ratio(r["projections_of_forward_backward"]),
            number(r["captum_per_s"]),
        )
        for r in results["fast"]
    ]
    print_table("Images and projections a second", (*header, "Captum/s"), rows)
    rows = [
        (
            f"{r['network']} {own['layer']}",
            number(own["per_s"]),
            number(own["peak_mb"]),
            *(str(own["operators"][str(n)]) for n in _COUNTED),
            number(max(own["operators"].values()) / own["nodes"]),
        )
        for r in results["fast"]
        for own in r["layers"]
    ]
    counted = (*(f"{n} units" for n in _COUNTED), "of 128 a node")
    print_table("Layers: rate, peak memory, operators", ("layer", "per s", "MB", *counted), rows)


def main() -> None:
    """Measure a device."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=default, help="cuda, cuda:1, mps, cpu")
    parser.add_argument("--quick", action="store_true", help="seconds: shows that all parts run")
    parser.add_argument("--fast", nargs="+", help="networks to time")
    parser.add_argument("--correct", nargs="+", help="networks to compare with the CPU")
    options = parser.parse_args()
    device = torch.device(options.device)
    results = run(device, settings_from(options, Settings(), QUICK))
    print_results(results)
    name = re.sub(r"\W+", "-", results["device"]).strip("-").lower()
    print(write_results(f"device-{name}", results))


if __name__ == "__main__":
    main()
