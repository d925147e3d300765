"""Soak: a hundred thousand images through a whole build, in this process and on Ray; what grows, and what is left over.

Memory of all processes together, open files and processes are looked at every half second; a straight line through the
scan's times says whether time is linear; afterwards, processes, shared memory, Ray's spilled objects and files of the
ledger are counted. Prints a table and writes benchmarks/results/soak.json.

    python benchmarks/soak.py [--images 100000] [--quick]
"""

from __future__ import annotations

import argparse
import gc
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from backlight import Network, Preprocessing, capture, plan_build
from backlight.atlas import execute
from backlight.engines.ray import RayConfig, RayEngine
from backlight.images import ImageRecord, Picture
from backlight.text import counted
from common import machine, number, print_table, settings_from, sgemm_gflops, write_results
from memory import own_mb, tree

PART = "soak"
_SIDE, _EVERY_S = 32, 0.5


@dataclass(frozen=True)
class Settings:
    """How much is done.

    Attributes:
        images: Number of images.
        stations: Of the Ray engine.
        shard: Images of a shard.
        sgemm_sizes: Sizes of the matrices that measure the machine's rate.
    """

    images: int = 100_000
    stations: int = 2
    shard: int = 1024
    sgemm_sizes: tuple[int, ...] = (2048, 3072, 4096)


QUICK = Settings(images=2_000, shard=256, sgemm_sizes=(256,))


class Noise:
    """Images of soft noise, drawn when they are asked for; nothing of them is stored."""

    def __init__(self, count: int) -> None:
        self.name = "noise"
        self.records = [ImageRecord(i, f"{i:06}.png", None) for i in range(count)]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.records)

    def load(self, image_id: int) -> Picture:
        """Return an image; the same one for the same id."""
        from PIL import Image

        coarse = np.random.default_rng(image_id).integers(0, 256, (5, 5, 3), np.uint8)
        return Image.fromarray(coarse).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)

    def fingerprint(self) -> str:
        """Return what tells sets of another size apart."""
        return f"noise {len(self)}"


def tiny_network() -> Network:
    """Return a network of two layers, with random weights."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 5, 2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(400, 10),
    )
    return capture(model.eval(), (3, _SIDE, _SIDE), Preprocessing.default(3, _SIDE))


@dataclass
class Watch:
    """What processes hold while something runs.

    Attributes:
        times: Seconds since the beginning.
        megabytes: Resident memory of this process and of all that it has begun, shared pages counted once.
        files: Open files of this process.
        processes: Their number.
        done: Seconds and images of each report of the scan.
    """

    times: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    processes: list[int] = field(default_factory=list)
    done: list[tuple[float, int]] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Watch while the block runs."""
        stop, self.start = threading.Event(), time.perf_counter()

        def look() -> None:
            while not stop.wait(_EVERY_S):
                pids = tree(os.getpid())
                self.times.append(time.perf_counter() - self.start)
                self.megabytes.append(sum(map(own_mb, pids)))
                self.files.append(open_files())
                self.processes.append(len(pids))

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def __call__(self, phase: str, done: int, total: int) -> None:
        """Note how far the scan is."""
        if phase == "scan":
            self.done.append((time.perf_counter() - self.start, done))


def open_files() -> int:
    """Return how many files this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def growth(times: list[float], values: list[float]) -> float:
    """Return by how much a line through the last three quarters rises over them, as a share of its mean."""
    if len(times) < 8:
        return 0.0
    at = len(times) // 4
    x, y = np.array(times[at:]), np.array(values[at:])
    slope = np.polyfit(x, y, 1)[0]
    return float(slope * (x[-1] - x[0]) / y.mean())


def linearity(done: list[tuple[float, int]]) -> float:
    """Return the rate of the last third of the scan against that of the middle third."""
    seconds, images = np.array(done).T
    at = [np.searchsorted(images, images[-1] * share) for share in (1 / 3, 2 / 3, 1)]
    rates = [
        (images[stop] - images[start]) / (seconds[stop] - seconds[start])
        for start, stop in ((at[0], at[1]), (at[1], len(images) - 1))
    ]
    return float(rates[1] / rates[0])


def left_over() -> dict[str, int]:
    """Return what Ray may leave behind: processes, shared memory, objects that were spilled to the disk."""
    gc.collect()
    deadline = time.monotonic() + 20
    while len(tree(os.getpid())) > 1 and time.monotonic() < deadline:
        time.sleep(0.2)
    shared = [own for own in Path("/dev/shm").iterdir() if "plasma" in own.name or "ray" in own.name]
    spilled = list(Path(tempfile.gettempdir()).glob("ray/session_latest/ray_spilled_objects*/*"))
    return {"processes": len(tree(os.getpid())) - 1, "shared_segments": len(shared), "spilled": len(spilled)}


def run(settings: Settings) -> dict[str, Any]:
    """Return what both builds held and left, as plain JSON."""
    torch.set_num_threads(1)
    found = machine(sgemm_gflops(settings.sgemm_sizes))
    rows = [_one(settings, name) for name in ("this process", f"Ray, {settings.stations} stations")]
    return {"machine": found, "settings": asdict(settings), "rows": rows}


def _one(settings: Settings, name: str) -> dict[str, Any]:
    plan = plan_build(
        tiny_network(),
        Noise(settings.images),
        maps=4,
        compile="off",
        shard_images=settings.shard,
        wholes=True,
    )
    files_before, watch = open_files(), Watch()
    with tempfile.TemporaryDirectory() as folder:
        with ExitStack() as stack:
            engine = None
            if name != "this process":
                config = RayConfig(stations=settings.stations)
                RayEngine(
                    Path(folder) / "ledger", config
                ).close()  # what Ray opens once is not what a build leaves
                files_before = open_files()
                engine = stack.enter_context(RayEngine(Path(folder) / "ledger", config))
            start = time.perf_counter()
            with watch.running():
                execute(plan, Path(folder) / "a.atlas", engine, progress=watch)
            seconds = time.perf_counter() - start
        names = sorted(own.name for own in Path(folder).iterdir())
        rest = left_over()
    scan = [i for i, at in enumerate(watch.times) if watch.done[0][0] <= at <= watch.done[-1][0]]
    during = [watch.megabytes[i] for i in scan], [float(watch.files[i]) for i in scan]
    times = [watch.times[i] for i in scan]
    return {
        "contestant": name,
        "seconds": seconds,
        "images_per_s": settings.images / watch.done[-1][0],
        "peak_mb": max(watch.megabytes),
        "memory_growth": growth(times, during[0]),
        "files_growth": growth(times, during[1]),
        "rate_at_the_end": linearity(watch.done),
        "files_left_open": open_files() - files_before,
        "files_left": [own for own in names if own != "a.atlas"],
        **rest,
    }


def table(results: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the table of a run."""
    header = ["", "images/s", "peak MB", "memory grows by", "rate of the last third", "left over"]
    return header, [
        [
            row["contestant"],
            number(row["images_per_s"]),
            number(row["peak_mb"]),
            f"{row['memory_growth']:+.1%}",
            f"{row['rate_at_the_end']:.2f}",
            _left(row),
        ]
        for row in results["rows"]
    ]


def _left(row: dict[str, Any]) -> str:
    names = {"processes": "process", "shared_segments": "shared segment", "spilled": "spilled object"}
    names["files_left_open"] = "open file"
    several = {"process": "processes"}
    left = [counted(row[key], name, several.get(name)) for key, name in names.items() if row[key] > 0]
    return ", ".join([*left, *row["files_left"]]) or "nothing"


TABLES: dict[str, Callable[[dict[str, Any]], tuple[list[str], list[list[str]]]]] = {"both": table}


def main(settings: Settings) -> None:
    """Measure, print and keep the results."""
    results = run(settings)
    print_table(f"{settings.images} images through a whole build", *table(results))
    write_results(PART if settings == Settings() else f"{PART}_quick", results)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a minute: shows that it runs")
    for option in ("images", "stations", "shard"):
        parser.add_argument(f"--{option}", type=int)
    main(settings_from(parser.parse_args(), Settings(), QUICK))
