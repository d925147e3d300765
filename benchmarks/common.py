"""What the benchmarks share: the machine, the photographs, the networks, timing, and result files."""

from __future__ import annotations

import json
import os
import platform
import random
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

import backlight_demo
from backlight import capture
from backlight.models import load_model
from backlight.network import Network

RESULTS = Path(__file__).parent / "results"
SHARED = Path(__file__).resolve().parents[2] / "shared"  # the evaluation data; optional, see photographs
SEED = 0
S = TypeVar("S")
_PACKAGES = ("backlight", "torch", "torchvision", "captum", "zennit", "zennit-crp")


def use_all_cores() -> None:
    """Let torch compute on every core that this process may use."""
    torch.set_num_threads(n_cores())


def n_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def sgemm_gflops(sizes: Sequence[int] = (2048, 3072, 4096), repeats: int = 5) -> float:
    """Return the machine's best rate for products of float32 matrices, in GFLOP/s."""
    best = 0.0
    for size in sizes:
        left, right = torch.rand(size, size), torch.rand(size, size)
        out = left @ right
        for _ in range(repeats):
            start = time.perf_counter()
            torch.matmul(left, right, out=out)
            best = max(best, 2 * size**3 / (time.perf_counter() - start) / 1e9)
    return best


def machine(sgemm: float) -> dict[str, Any]:
    """Return a description of the machine and its software, as plain JSON."""
    return {
        "cpu": _cpu_model(),
        "cores": n_cores(),
        "ram_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: found for name in _PACKAGES if (found := _version(name))},
        "threads": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "sgemm_gflops": round(sgemm, 1),
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def load_network(name: str) -> tuple[nn.Module, Network, bool]:
    """Return a torchvision classifier, its captured network, and whether the (seeded) weights are random."""
    torch.manual_seed(SEED)
    weights = SHARED / "models" / f"{name}-imagenet.safetensors"
    loaded = load_model(f"torchvision:{name}", str(weights) if weights.is_file() else None)
    assert loaded.preprocessing is not None
    net = capture(loaded.model, (3, *loaded.preprocessing.crop), loaded.preprocessing)
    return loaded.model, net, loaded.is_random


def photographs(count: int | None = None) -> list[Path]:
    """Return up to `count` photographs in a fixed random order; all of them for None.

    They come from the evaluation data beside the project, or else from the demo.
    """
    folder = SHARED / "images" / "imagen"
    files = sorted((folder if folder.is_dir() else backlight_demo.photographs()).glob("*.jpg"))
    random.Random(SEED).shuffle(files)
    return files[:count]


def settings_from(options: Namespace, full: S, quick: S) -> S:
    """Return a part's settings: the full ones, or with `--quick` the quick ones, overridden by the command line."""
    settings = quick if options.quick else full
    asked = {f.name: getattr(options, f.name, None) for f in fields(settings)}
    return replace(settings, **{name: value for name, value in asked.items() if value})


def median_seconds(call: Callable[[], object], repeats: int = 5, budget_s: float = 10.0) -> float:
    """Return the median time of a call, after one warm-up call; stops repeating when the budget is used up."""
    call()
    taken: list[float] = []
    while len(taken) < repeats and (len(taken) < 2 or sum(taken) < budget_s):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return median(taken)


def write_results(part: str, results: dict[str, Any]) -> Path:
    """Write the results of a part as JSON, with one line per table row, and return the file."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{part}.json"
    values = (f"{json.dumps(name)}: {_in_lines(value)}" for name, value in results.items())
    path.write_text("{\n" + ",\n".join(values) + "\n}\n")
    return path


def _in_lines(value: Any) -> str:
    """Return a value as JSON, with one line per row for a list of table rows."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n" + ",\n".join(map(json.dumps, value)) + "\n]"
    return json.dumps(value)


def read_results(part: str) -> dict[str, Any] | None:
    """Return the results of a part's last run; None if it has never run."""
    path = RESULTS / f"{part}.json"
    return json.loads(path.read_text()) if path.is_file() else None  # type: ignore[no-any-return]


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table, the first column aligned left, the others right."""
    table = Table(box=None, header_style="bold")
    for i, name in enumerate(header):
        table.add_column(name, justify="left" if i == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console = Console()
    console = console if console.is_terminal else Console(width=180)
    console.print(f"[bold]{title}[/bold]", table, "", sep="\n", highlight=False)


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with that many significant digits, or a dash."""
    if value is None:
        return "–"
    whole = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    return f"{value:,.{max(digits - whole, 0)}f}" if abs(value) >= 0.01 or value == 0 else f"{value:.1e}"


def ratio(value: float | None) -> str:
    """Return a ratio as it is printed: `12.3×`."""
    return "–" if value is None else f"{number(value)}×"
