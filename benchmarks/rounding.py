"""How far does rounding move an activation? Every activation of a scan in float32 against float64.

The largest difference of any position, as a share of the map's scale: its strongest activation over the images, or the
median of its layer's where that is larger. Backlight calls two hits certain if they differ by more than twice
`scan.certain.BOUND`, which is at least four times what is measured here. Each setting runs in a process of its own,
because an instruction set is chosen when PyTorch starts.

    python benchmarks/rounding.py [--networks resnet18 ...] [--quick]

Prints a table and writes benchmarks/results/rounding.json; `report.py` puts it into docs/reliability.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.models import get_model

import backlight
from backlight import Network, Preprocessing
from backlight.network.exact import ExactNetwork
from backlight.network.fast import FastNetwork
from backlight.scan.certain import BOUND, bounds_of
from backlight.scan.compiling import compile_frozen
from common import SEED, load_network, machine, photographs, print_table, settings_from, write_results
from evidence import _demo

PART = "rounding"
TRAINED = ("squeezenet1_0", "demo")
AT_ONCE = 4
"""Images that a scan runs together on a CPU."""
SIDES = {"alexnet": 112, "vgg11": 64}
"""Inputs of the networks of random weights: 96 pixels a side, or what a network needs."""
LIMITS = {"default": ("SSE41", "SSE4_2"), "avx2": ("AVX2", "AVX2"), "avx512": ("AVX512_CORE", "AVX512")}
"""Instruction sets as PyTorch names them, and what keeps oneDNN and MKL, which convolve and multiply, to the same."""


@dataclass(frozen=True)
class Settings:
    """What is measured.

    Attributes:
        networks: Classifiers of torchvision, with random weights where there are no others, and the demo's.
        images: Photographs of each.
        compiled: Networks that are measured compiled too, which takes a minute each.
    """

    networks: tuple[str, ...] = (
        *("squeezenet1_0", "demo", "alexnet", "vgg11", "resnet18", "resnet50"),
        *("mobilenet_v2", "densenet121", "convnext_tiny"),
    )
    images: int = 4
    compiled: tuple[str, ...] = ("squeezenet1_0", "resnet18")


QUICK = Settings(("squeezenet1_0",), images=2, compiled=())


@dataclass(frozen=True)
class Way:
    """How a scan computes.

    Attributes:
        capability: The instruction set, as PyTorch's environment variable names it.
        threads: PyTorch's threads.
        at_once: Images that are run together.
        compiled: Whether the network is compiled.
    """

    capability: str
    threads: int = 1
    at_once: int = AT_ONCE
    compiled: bool = False

    @property
    def name(self) -> str:
        """The way in a few words: the instruction set, and what is not as in a plain scan."""
        threads = "" if self.threads == 1 else f", {self.threads} threads"
        images = ", one image at a time" if self.at_once == 1 else ""
        return f"{self.capability}{threads}{images}{', compiled' if self.compiled else ''}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a process that computes this way."""
        onednn, mkl = LIMITS[self.capability]
        own = {"ATEN_CPU_CAPABILITY": self.capability, "ONEDNN_MAX_CPU_ISA": onednn}
        return {**os.environ, **own, "MKL_ENABLE_INSTRUCTIONS": mkl}


def ways() -> list[Way]:
    """Return how this machine can compute: each of its instruction sets, threads, and images at once."""
    own = torch.backends.cpu.get_cpu_capability().lower()
    sets = [*LIMITS][: [*LIMITS].index(own) + 1] if own in LIMITS else ["default"]
    best = sets[-1]
    return [*map(Way, sets), Way(best, threads=2), Way(best, at_once=1), Way(best, compiled=True)]


def network(name: str) -> Network:
    """Return a network: trained, or with seeded random weights and small inputs."""
    if name == "demo":
        return _demo(1)[0]
    if name in TRAINED:
        return load_network(name)[1]
    side = SIDES.get(name, 96)
    torch.manual_seed(SEED)
    return backlight.capture(get_model(name).eval(), (3, side, side), Preprocessing.default(3, side))


def measure(name: str, own: Sequence[Way], n_images: int) -> list[dict[str, Any]]:
    """Return, for each way, the largest differences of a network, and in which layer that is."""
    net = network(name)
    layers, exact = net.layers, ExactNetwork(net, net.layers)
    preprocessing = net.preprocessing
    assert preprocessing is not None
    inputs = preprocessing.batch([Image.open(path) for path in photographs(n_images)])
    runs = [_Run(net, way, inputs) for way in own]
    peaks = [np.zeros(layer.n_maps) for layer in layers]
    for start in range(0, len(inputs), AT_ONCE):
        part = inputs[start : start + AT_ONCE]
        found = [run.maps(part) for run in runs]
        torch.set_num_threads(1)
        for i, pixels in enumerate(part):
            right = exact(pixels, range(len(layers)))
            peaks = [np.maximum(peak, _most(true)) for peak, true in zip(peaks, right, strict=True)]
            for run, maps in zip(runs, found, strict=True):
                run.compare([of_layer[i] for of_layer in maps], right)
    return [_row(name, net, run, peaks) for run in runs]


class _Run:
    """A network that computes in one way, and how far it was off so far."""

    def __init__(self, net: Network, way: Way, inputs: Tensor) -> None:
        self.way, self._fast = way, FastNetwork(net, net.layers)
        self.errors = [np.zeros(layer.n_maps) for layer in net.layers]
        if way.compiled:
            example = inputs[: way.at_once].contiguous(memory_format=torch.channels_last)
            self._fast.graph = compile_frozen(self._fast.graph, example)  # type: ignore[assignment]

    def maps(self, part: Tensor) -> list[Tensor]:
        """Return each layer's activations of some images."""
        torch.set_num_threads(self.way.threads)
        found = [self._fast(own) for own in torch.split(part, self.way.at_once)]
        return [torch.cat(own) for own in zip(*found, strict=True)]

    def compare(self, maps: Sequence[Tensor], right: Sequence[Tensor]) -> None:
        """Add an image's activations, in float32 and in float64."""
        errors = [_most((own.double() - true).abs()) for own, true in zip(maps, right, strict=True)]
        self.errors = [np.maximum(before, now) for before, now in zip(self.errors, errors, strict=True)]


def _row(name: str, net: Network, run: _Run, peaks: Sequence[NDArray[np.float64]]) -> dict[str, Any]:
    shares, alone = zip(*map(_shares, run.errors, peaks), strict=True)
    worst = int(np.argmax([own.max() for own in shares]))
    return {
        "network": name,
        "way": run.way.name,
        "weights": "trained" if name in TRAINED else "random",
        "side": net.input_shape[-1],
        "layers": len(net.layers),
        "maps": sum(map(len, peaks)),
        "median": float(np.median(np.concatenate(shares))),
        "worst": float(shares[worst].max()),
        "layer": net.layers[worst].name,
        "of_own_peak": float(max(own.max(initial=0) for own in alone)),
    }


def _most(values: Tensor) -> NDArray[np.float64]:
    """Return the largest value of each map (c, h, w), or of each unit (c,)."""
    return (values.flatten(1).amax(1) if values.dim() == 3 else values).numpy()


def _shares(errors: NDArray[np.float64], peaks: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Return a layer's errors (c,) as shares of its maps' scales, and of the peaks of active maps alone."""
    scales, is_active = bounds_of(peaks.astype(np.float32)) / BOUND, peaks > 0
    return errors[scales > 0] / scales[scales > 0], errors[is_active] / peaks[is_active]


def run(settings: Settings) -> dict[str, Any]:
    """Return a row for each network and way, as plain JSON; kept after each instruction set."""
    rows: list[dict[str, Any]] = []
    results = {"settings": asdict(settings), "machine": machine(0.0), "bound": BOUND, "rows": rows}
    for capability in dict.fromkeys(way.capability for way in ways()):
        own = [way for way in ways() if way.capability == capability]
        jobs = [
            (name, [w for w in own if name in settings.compiled or not w.compiled])
            for name in settings.networks
        ]
        rows += _elsewhere(jobs, own[0].environment, settings.images)
        write_results(PART, results)
        print(f"{capability}: {largest(results):.1e}", flush=True)
    return results


def _elsewhere(
    jobs: Sequence[tuple[str, Sequence[Way]]], environment: dict[str, str], n_images: int
) -> list[dict[str, Any]]:
    """Return the rows of networks, measured in a process that is held to an instruction set."""
    told = json.dumps([(name, [asdict(way) for way in own], n_images) for name, own in jobs])
    command = [sys.executable, str(Path(__file__).resolve()), "--job", told]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def table(results: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return a row for each network: the largest difference in any way, and the ways one by one."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in results["rows"]:
        rows.setdefault(row["network"], []).append(row)
    names = list(dict.fromkeys(row["way"] for row in results["rows"]))
    cells = []
    for name, own in rows.items():
        found = {row["way"]: row["worst"] for row in own}
        of_all = [f"{found[way]:.1e}" if way in found else "–" for way in names]
        peak = f"{max(row['of_own_peak'] for row in own):.0e}"
        cells.append([f"{name}, {own[0]['side']}, {own[0]['weights']}", f"{own[0]['maps']:,}", *of_all, peak])
    return ["network, side, weights", "maps", *names, "of the map's own peak"], cells


def largest(results: dict[str, Any]) -> float:
    """Return the largest difference of all, as a share of a map's scale."""
    return float(max(row["worst"] for row in results["rows"]))


def describe(results: dict[str, Any]) -> str:
    """Return what was found, in a sentence."""
    n_maps = sum({row["network"]: row["maps"] for row in results["rows"]}.values())
    return (
        f"The largest of {n_maps:,} maps of {len({row['network'] for row in results['rows']})} networks is "
        f"{largest(results):.1e}; the bound, {results['bound']:.0e}, is {results['bound'] / largest(results):.1f} "
        "times as large."
    )


def main() -> None:
    """Run the benchmark, print its table, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--networks", nargs="+")
    parser.add_argument("--images", type=int)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        jobs = [(name, [Way(**way) for way in own], n) for name, own, n in json.loads(options.job)]
        print(json.dumps([row for job in jobs for row in measure(*job)]))
        return
    results = run(settings_from(options, Settings(), QUICK))
    print_table("float32 against float64, as a share of a map's scale", *table(results))
    print(describe(results))


if __name__ == "__main__":
    main()
