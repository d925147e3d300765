"""The scan: images per second against the bare forward pass of the same network, from memory and from JPEG files.

The bare pass is the fastest of several: the model as it is, with channels last, and compiled with frozen weights
and channels last, each at several batch sizes. Prints tables and writes benchmarks/results/scan.json.

    python benchmarks/scan.py [--networks squeezenet1_0 resnet50 vgg16 alexnet] [--quick]
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch._inductor.config as inductor
from PIL import Image
from torch import Tensor, nn

from backlight_side import BATCH_SIZE, scan_files, scan_graph
from common import (
    load_network,
    machine,
    number,
    photographs,
    print_table,
    settings_from,
    sgemm_gflops,
    use_all_cores,
    write_results,
)
from counting import forward_multiply_adds

SIZE = 375, 500  # height and width of a photograph of ImageNet
QUALITY = 90


@dataclass(frozen=True)
class Settings:
    """How much is measured.

    Attributes:
        networks: Classifiers of torchvision.
        images: Number of photographs.
        batch_sizes: Batch sizes of the bare pass.
        rounds: How often each contestant runs; they take turns, and the median counts.
        sgemm_sizes: Sizes of the matrices that measure the machine's rate.
    """

    networks: tuple[str, ...] = ("squeezenet1_0", "resnet50", "vgg16", "alexnet")
    images: int = 48
    batch_sizes: tuple[int, ...] = (4, 8, 32)
    rounds: int = 3
    sgemm_sizes: tuple[int, ...] = (2048, 3072, 4096)


QUICK = Settings(networks=("squeezenet1_0",), images=32, batch_sizes=(4,), rounds=2)


def run(settings: Settings) -> dict[str, Any]:
    """Return the rates of each network, as plain JSON."""
    use_all_cores()
    sgemm = sgemm_gflops(settings.sgemm_sizes)
    with TemporaryDirectory() as folder:
        paths = resized_photographs(Path(folder), settings.images)
        networks = []
        for name in settings.networks:
            networks.append(measure(name, paths, settings, sgemm))
            print_table(f"{name}: from memory", *table([networks[-1]]))
            print_table(f"{name}: from files", *files_table([networks[-1]]))
    return {"machine": machine(sgemm), "settings": asdict(settings), "networks": networks}


def resized_photographs(folder: Path, count: int) -> list[Path]:
    """Write photographs into the folder as JPEG files of ImageNet's size, and return their paths."""
    paths = []
    for i, path in enumerate(photographs(count)):
        paths.append(folder / f"{i:04}.jpg")
        picture = Image.open(path).convert("RGB").resize(SIZE[::-1], Image.Resampling.BICUBIC)
        picture.save(paths[-1], quality=QUALITY)
    return paths


def measure(name: str, paths: Sequence[Path], settings: Settings, sgemm: float) -> dict[str, Any]:
    """Return the rates of one network in images per second, and their ratios."""
    model, net, is_random = load_network(name)
    assert net.preprocessing is not None
    images = net.preprocessing.batch(list(paths))
    begin = time.perf_counter()
    with inductor.patch(force_disable_caches=True):  # as on a machine that compiles for the first time
        compiled = scan_graph(net, compiled=True)
    compile_s = time.perf_counter() - begin
    scans = {"plain": scan_graph(net, compiled=False), "compiled": compiled}
    calls: dict[str, Callable[[], object]] = dict(bare_passes(model, images, settings.batch_sizes))
    calls |= {f"scan {kind}": partial(_in_batches, scan, images) for kind, scan in scans.items()}
    calls |= {f"files {kind}": partial(scan_files, net, paths, scan) for kind, scan in scans.items()}
    calls["decode"] = partial(scan_files, net, paths, None)
    seconds = take_turns(calls, settings.rounds)
    rates = {kind: len(paths) / value for kind, value in seconds.items()}
    bare = max((kind for kind in rates if kind.startswith("bare ")), key=rates.__getitem__)
    expected = 1 / (1 / rates["decode"] + 1 / rates[bare])
    gflop = 2 * forward_multiply_adds(net) / 1e9
    return {
        "network": name,
        "weights": "random" if is_random else "trained",
        "rates": rates,
        "fastest_bare": bare.removeprefix("bare "),
        "bare": rates[bare],
        "compile_s": compile_s,
        "plain_of_bare": rates["scan plain"] / rates[bare],
        "compiled_of_bare": rates["scan compiled"] / rates[bare],
        "files_expected": expected,
        "files_plain_of_expected": rates["files plain"] / expected,
        "files_compiled_of_expected": rates["files compiled"] / expected,
        "repaid_after": _repaid_after(compile_s, rates["scan plain"], rates["scan compiled"]),
        "gflops": gflop * max(rates["scan plain"], rates["scan compiled"]),
        "of_sgemm": gflop * max(rates["scan plain"], rates["scan compiled"]) / sgemm,
    }


def bare_passes(
    model: nn.Module, images: Tensor, batch_sizes: Sequence[int]
) -> dict[str, Callable[[], object]]:
    """Return the forward passes over all images that the scan is compared with."""
    model = model.eval()
    last = copy.deepcopy(model).to(memory_format=torch.channels_last)
    calls: dict[str, Callable[[], object]] = {}
    for size in batch_sizes:
        calls[f"bare plain, batch {size}"] = partial(_in_batches, model, images, size)
        laid_out = partial(_in_batches, last, images, size, torch.channels_last)
        calls[f"bare channels last, batch {size}"] = laid_out
        with torch.no_grad(), inductor.patch(freezing=True):
            compiled = torch.compile(last, dynamic=False)
            compiled(images[:size].contiguous(memory_format=torch.channels_last))
        calls[f"bare compiled, batch {size}"] = partial(
            _in_batches, compiled, images, size, torch.channels_last
        )
    return calls


def _in_batches(
    call: Callable[[Tensor], object],
    images: Tensor,
    size: int = BATCH_SIZE,
    layout: torch.memory_format = torch.contiguous_format,
) -> None:
    with torch.no_grad():
        for batch in images.split(size):
            call(batch.contiguous(memory_format=layout))


def take_turns(
    calls: dict[str, Callable[[], object]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Return the median seconds of each call by a clock; they take turns, after one warm-up round."""
    taken: dict[str, list[float]] = {kind: [] for kind in calls}
    for turn in range(rounds + 1):
        for kind, call in calls.items():
            begin = clock()
            call()
            if turn:
                taken[kind].append(clock() - begin)
    return {kind: median(values) for kind, values in taken.items()}


def _repaid_after(compile_s: float, plain: float, compiled: float) -> int | None:
    """Return the number of images after which compiling has saved the time it took; None for never."""
    saved = 1 / plain - 1 / compiled
    return round(compile_s / saved) if saved > 0 else None


def table(networks: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return the table of the rates from memory: header and rows."""
    header = ["network", "fastest bare pass", "bare", "plain", "ratio", "compiled", "ratio", "compiling s"]
    header += ["repaid after", "GFLOP/s", "of sgemm"]
    rows = []
    for found in networks:
        rates, after = found["rates"], found["repaid_after"]
        row = [found["network"], found["fastest_bare"], number(found["bare"])]
        row += [number(rates["scan plain"]), f"{found['plain_of_bare']:.2f}"]
        row += [number(rates["scan compiled"]), f"{found['compiled_of_bare']:.2f}"]
        row += [number(found["compile_s"]), "never" if after is None else f"{number(after)} images"]
        rows.append([*row, number(found["gflops"]), f"{found['of_sgemm']:.0%}"])
    return header, rows


def files_table(networks: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return the table of the rates from files: header and rows."""
    header = ["network", "decoding alone", "bare pass alone", "one after the other", "plain", "ratio"]
    rows = []
    for found in networks:
        rates = found["rates"]
        row = [found["network"], rates["decode"], found["bare"], found["files_expected"]]
        cells = [row[0], *map(number, row[1:])]
        for kind in ("plain", "compiled"):
            cells += [number(rates[f"files {kind}"]), f"{found[f'files_{kind}_of_expected']:.2f}"]
        rows.append(cells)
    return [*header, "compiled", "ratio"], rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", metavar="NAME")
    parser.add_argument("--images", type=int, help="photographs")
    parser.add_argument("--quick", action="store_true", help="one network, few images and rounds")
    options = parser.parse_args()
    write_results("scan", run(settings_from(options, Settings(), QUICK)))


if __name__ == "__main__":
    main()
