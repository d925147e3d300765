"""Adaptive networks: the rate of inference against its bare convolutions, and the memory of inference and training.

The network is the paper's: 15, 50, 100 and 150 maps over gray images of 150x150, ten steps a layer. Its filters are
random (their values do not change the arithmetic). Each layer's inference, by shrinkage, is timed alone, with the
switches below known; that of all layers without and with the refit. The bare convolutions are those of its steps, at
the same sizes and the same batch, with nothing in between: no unpooling, no shrinkage, no pooling. All keep freed
memory, as `backlight adaptive` does. Prints tables and writes benchmarks/results/adaptive.json.

    python benchmarks/adaptive.py [--batch 4] [--counts 100 400] [--quick]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from backlight.adaptive import CODE_VALUES, PRESETS, AdaptiveConfig, AdaptiveDeconvNet, Codes, Learning
from backlight.adaptive.inference import REFIT_STEPS, settle
from backlight.adaptive.learning import steps_of
from backlight.adaptive.operators import Reconstruction, match, paint
from backlight.adaptive.shelf import Shelf
from backlight.cli.allocation import keep_freed_memory
from common import (
    SEED,
    machine,
    number,
    photographs,
    print_table,
    settings_from,
    sgemm_gflops,
    use_all_cores,
    write_results,
)
from memory import peak_mb, watched
from scan import take_turns

TARGET = 0.6
SAMPLED_S = 0.02
BOUNDS = {"memory": 4 << 30, "files": 0}
"""By where a training holds images and codes: its bound of memory."""


@dataclass(frozen=True)
class Settings:
    """How much is measured.

    Attributes:
        preset: The network.
        batch: Images at a time.
        rounds: How often each contestant runs; they take turns, and the median counts.
        batches: Images at a time whose inference shows the memory that it takes.
        trained: The network that is trained for the memory that it takes: layer 1 has the largest codes.
        counts: Numbers of images that it is trained on.
        sgemm_sizes: Sizes of the matrices whose product gives the machine's rate.
    """

    preset: str = "paper"
    batch: int = 4
    rounds: int = 5
    batches: tuple[int, ...] = (1, 4, 16)
    trained: str = "two-layers"
    counts: tuple[int, ...] = (100, 400)
    sgemm_sizes: tuple[int, ...] = (2048, 3072, 4096)


QUICK = Settings("small", 2, 1, (1,), "small", (2, 4), (512,))


def run(settings: Settings) -> dict[str, Any]:
    """Return the rates of each layer and the peaks of memory, as plain JSON."""
    use_all_cores()
    keep_freed_memory()
    found: dict[str, Any] = {
        "machine": machine(sgemm_gflops(settings.sgemm_sizes)),
        "settings": asdict(settings),
        "target": TARGET,
    }
    found |= measure(settings)
    print_table("inference, images a second", *table(found))
    found["inference"] = [_in_own_process("inference", settings.preset, count) for count in settings.batches]
    print_table("memory of inference", *inference_table(found))
    found["training"] = [
        _in_own_process(where, settings.trained, count) for count in settings.counts for where in BOUNDS
    ]
    print_table("memory of a training", *training_table(found))
    return found


def measure(settings: Settings) -> dict[str, Any]:
    """Return the rate of each layer's inference and of its bare convolutions, and that of the whole by its values."""
    net = AdaptiveDeconvNet(PRESETS[settings.preset], SEED)
    images = net.prepare(list(islice(cycle(photographs()), settings.batch)))
    codes = net.infer(images)
    rows = [_layer(net, images, codes, layer, settings.rounds) for layer in range(1, net.n_layers + 1)]
    calls = {values: partial(net.infer, images, values=values) for values in CODE_VALUES}
    seconds = take_turns(calls, settings.rounds)
    return {"rows": rows, "whole": {values: len(images) / own for values, own in seconds.items()}}


@torch.no_grad()
def _layer(net: AdaptiveDeconvNet, images: Tensor, codes: Codes, layer: int, rounds: int) -> dict[str, Any]:
    """Return the images a second of one layer's inference and of its bare convolutions."""
    own, steps = net.config.layers[layer - 1], net.config.steps
    how = steps_of(own, float(net.squared_norms[layer - 1]))
    whole = Reconstruction(net.filters[:layer], codes.below(layer))
    calls: dict[str, Callable[[], object]] = {"settle": partial(settle, images, whole, how, steps)}
    for kind in BARE:
        calls[kind] = bare(net, images, layer, kind)
    seconds = take_turns(calls, rounds)
    rates = {kind: len(images) / value for kind, value in seconds.items()}
    return {
        "layer": layer,
        "convolutions": layer * (2 * steps - 1),
        "rates": rates,
        "ratios": {kind: rates["settle"] / rates[kind] for kind in BARE},
        "target_met": rates["settle"] >= TARGET * max(rates[kind] for kind in BARE),
    }


def bare(net: AdaptiveDeconvNet, images: Tensor, layer: int, kind: str) -> Callable[[], object]:
    """Return what does the convolutions of a layer's inference and nothing else.

    The first step starts from zero, so it needs only the way up (R'); each other one needs R and R'. Every one of
    both has a convolution for each layer up to this one.
    """
    config, (n, _, height, width) = net.config, images.shape
    shapes = config.shapes((height, width))[:layer]
    painted = [(config.channels, height, width), *config.pooled_shapes((height, width))[: layer - 1]]
    above = [torch.randn(n, *shape) for shape in shapes]
    below = [torch.randn(n, *shape) for shape in painted]
    prepare_down, prepare_up = BARE[kind]
    down = [prepare_down(z, f) for z, f in zip(above, net.filters[:layer], strict=True)]
    up = [prepare_up(maps, f) for maps, f in zip(below, net.filters[:layer], strict=True)]
    sequence = up + (down[::-1] + up) * (config.steps - 1)

    def convolutions() -> None:
        with torch.no_grad():
            for call in sequence:
                call()

    return convolutions


def _plain_down(z: Tensor, filters: Tensor) -> Callable[[], Tensor]:
    return partial(F.conv2d, z, filters.flip(2, 3).transpose(0, 1).contiguous())


def _plain_up(maps: Tensor, filters: Tensor) -> Callable[[], Tensor]:
    return partial(F.conv2d, maps, filters, padding=filters.shape[2] - 1)


BARE: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "plain": (_plain_down, _plain_up),
    "own": (
        lambda z, filters: partial(paint, z, filters),
        lambda maps, filters: partial(match, maps, filters),
    ),
}
"""The bare convolutions, one towards the pixels and one back up: torch's own, and the library's."""


def _in_own_process(what: str, preset: str, count: int) -> dict[str, Any]:
    """Return what an inference or a training in a process of its own found, and its peak outside of files."""
    command = [sys.executable, __file__, "--one", what, "--preset", preset, "--counts", str(count)]
    found, seen = watched(command, _anonymous_mb, SAMPLED_S)
    return found | {"anonymous_mb": seen}


def _anonymous_mb(pid: int) -> float:
    """Return the resident memory of a process that is no file's, in megabytes (10^6); 0 where that cannot be read."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:")) * 1024 / 1e6
    except (OSError, StopIteration):  # it has just ended, or another system
        return 0.0


def _one(what: str, preset: str, count: int) -> dict[str, Any]:
    """Infer a batch, or train on a set, of noise here, and return the peaks of memory."""
    use_all_cores()
    keep_freed_memory()
    config = PRESETS[preset]
    net, learning = AdaptiveDeconvNet(config, SEED), Learning(epochs=1, memory_bytes=BOUNDS.get(what, 0))
    shape = (count, config.channels, *config.size)
    generator = np.random.default_rng(SEED)
    start = time.perf_counter()
    if what == "inference":
        net.squared_norms.fill_(1.0)  # known, as after learning
        images = torch.from_numpy(generator.standard_normal(shape, np.float32))
        before = peak_mb()
        net.infer(images)
    else:
        before = peak_mb()
        shelf = Shelf(learning.memory_bytes)
        rows = shelf.room(shape, np.float32)
        for row in rows:
            row[...] = generator.standard_normal(row.shape, np.float32)
        net.fit(rows, learning)
    seconds = time.perf_counter() - start
    found = {"held": what, "images": count, "images_mb": 4 * float(np.prod(shape)) / 1e6}
    codes_mb = count * code_bytes(config) / 1e6
    return found | {"codes_mb": codes_mb, "before_mb": before, "peak_mb": peak_mb(), "seconds": seconds}


def code_bytes(config: AdaptiveConfig) -> int:
    """Return the bytes of codes that a training holds of an image at most.

    Those are float32 values of the layer that is learned, and a byte for each switch of it and of those below.
    """
    counts = [int(np.prod(shape)) for shape in config.pooled_shapes()]
    return max(4 * own + sum(counts[: i + 1]) for i, own in enumerate(counts))


def table(found: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the table of the rates: header and rows."""
    header = ["layer", "convolutions", "inference", "bare, torch's conv2d", "ratio"]
    header += ["bare, `paint` and `match`", "ratio"]
    rows = []
    for row in found["rows"]:
        cells = [str(row["layer"]), str(row["convolutions"]), number(row["rates"]["settle"])]
        for kind in BARE:
            cells += [number(row["rates"][kind]), f"{row['ratios'][kind]:.2f}"]
        rows.append(cells)
    shrunk, count = found["whole"]["shrunk"], sum(row["convolutions"] for row in found["rows"])
    rows.append(["all", str(count), number(shrunk)])
    for kind in BARE:
        rate = 1 / sum(1 / row["rates"][kind] for row in found["rows"])
        rows[-1] += [number(rate), f"{shrunk / rate:.2f}"]
    # Refitting starts with an R, and each of its steps has an R' and an R.
    more = (1 + 2 * REFIT_STEPS) * sum(row["layer"] for row in found["rows"])
    rows.append(
        ["all, refitted", str(count + more), number(found["whole"]["refitted"]), *["–"] * (2 * len(BARE))]
    )
    return header, rows


def inference_table(found: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the table of the memory of inference: header and rows."""
    header = ["images at a time", "before, MB", "peak MB", "for the batch, MB", "for an image, MB"]
    rows = []
    for row in found["inference"]:
        more = row["peak_mb"] - row["before_mb"]
        cells = [row["before_mb"], row["peak_mb"], more, more / row["images"]]
        rows.append([str(row["images"]), *map(number, cells)])
    return header, rows


def training_table(found: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the table of the memory of a training: header and rows."""
    header = ["images", "held in", "images MB", "codes MB", "peak MB", "of it outside files", "seconds"]
    keys = ("images_mb", "codes_mb", "peak_mb", "anonymous_mb", "seconds")
    return header, [
        [f"{row['images']:,}", row["held"], *(number(row[key]) for key in keys)] for row in found["training"]
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, help="images at a time")
    parser.add_argument("--counts", type=int, nargs="+", metavar="IMAGES", help="to train on, for the memory")
    parser.add_argument("--preset", choices=list(PRESETS), help="which network")
    parser.add_argument("--quick", action="store_true", help="a small network, two images")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(_one(options.one, options.preset, options.counts[0])))
        return
    write_results("adaptive", run(settings_from(options, Settings(), QUICK)))


if __name__ == "__main__":
    main()
