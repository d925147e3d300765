"""Memory: the peak of a whole build for growing numbers of images; it must not grow with them.

Every build runs in a separate process, over synthetic JPEG files (thousands of links to a few files). Prints a
table and writes benchmarks/results/memory.json.

    python benchmarks/memory.py [--networks squeezenet1_0 vgg16] [--counts 200 1000 4000] [--quick]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from backlight_side import BuildOptions, build
from common import (
    SEED,
    load_network,
    machine,
    number,
    print_table,
    settings_from,
    sgemm_gflops,
    use_all_cores,
    write_results,
)

SIZE = 375, 500  # height and width of a photograph of ImageNet
N_DISTINCT = 50
SAMPLED_S = 0.1


@dataclass(frozen=True)
class Settings:
    """How much is measured.

    Attributes:
        networks: Classifiers of torchvision.
        counts: Numbers of images.
        maps: Feature maps of each layer that are projected.
        sgemm_sizes: Sizes of the matrices that measure the machine's rate.
    """

    networks: tuple[str, ...] = ("squeezenet1_0", "vgg16")
    counts: tuple[int, ...] = (200, 1000, 4000)
    maps: int = 2
    sgemm_sizes: tuple[int, ...] = (2048, 3072, 4096)


QUICK = Settings(networks=("squeezenet1_0",), counts=(50, 100, 200), maps=1)


def run(settings: Settings) -> dict[str, Any]:
    """Return the peak memory for each network and number of images, as plain JSON."""
    use_all_cores()
    networks = []
    with TemporaryDirectory() as folder:
        make_pictures(Path(folder), max(settings.counts))
        for name in settings.networks:
            rows = [_in_own_process(name, Path(folder), count, settings.maps) for count in settings.counts]
            networks.append({"network": name, "rows": rows, "growth": growth(rows)})
            print_network(networks[-1])
    return {
        "machine": machine(sgemm_gflops(settings.sgemm_sizes)),
        "settings": asdict(settings),
        "networks": networks,
    }


def make_pictures(folder: Path, count: int) -> None:
    """Write a few pictures of soft noise into the folder, and links to them, until there are `count` files."""
    generator = np.random.default_rng(SEED)
    for i in range(count):
        path = folder / f"{i:06}.jpg"
        if i < N_DISTINCT:
            coarse = Image.fromarray(generator.integers(0, 256, (25, 33, 3), np.uint8))
            coarse.resize(SIZE[::-1], Image.Resampling.BICUBIC).save(path, quality=90)
        else:
            path.symlink_to(folder / f"{i % N_DISTINCT:06}.jpg")


def growth(rows: Sequence[dict[str, Any]]) -> float:
    """Return by how much the largest peak exceeds the peak for the fewest images, relative to the latter."""
    peaks = [row["all_mb"] for row in rows]
    return float(max(peaks) / peaks[0] - 1)


def _in_own_process(name: str, folder: Path, count: int, maps: int) -> dict[str, Any]:
    """Return what a build in a separate process measured, with the peak memory of it and its children together."""
    command = [sys.executable, __file__, "--one", name, "--folder", str(folder)]
    command += ["--counts", str(count), "--maps", str(maps)]
    found, seen = watched(command, _tree_mb)
    return found | {"all_mb": max(seen, found["peak_mb"])}


def watched(
    command: Sequence[str], megabytes: Callable[[int], float], every_s: float = SAMPLED_S
) -> tuple[dict[str, Any], float]:
    """Return the last line that a program printed, read as JSON, and its largest measured value while it ran."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        seen = 0.0
        while process.poll() is None:
            seen = max(seen, megabytes(process.pid))
            time.sleep(every_s)
        assert process.stdout is not None
        lines = process.stdout.read().splitlines()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    found: dict[str, Any] = json.loads(lines[-1])
    return found, seen


def _build_one(name: str, folder: Path, count: int, maps: int) -> dict[str, Any]:
    """Build an atlas of that many images in this process, and return its memory peaks."""
    use_all_cores()
    _, net, _ = load_network(name)
    before, start = peak_mb(), time.perf_counter()
    with TemporaryDirectory() as place:
        build(net, sorted(folder.iterdir())[:count], Path(place) / "one.atlas", BuildOptions(maps))
    seconds = time.perf_counter() - start
    return {"images": count, "loaded_mb": before, "peak_mb": peak_mb(), "seconds": seconds}


def peak_mb() -> float:
    """Return the peak of this process's resident memory in megabytes (10^6).

    On Linux `ru_maxrss` includes the parent's memory at the start of a process, so `VmHWM` is read instead.
    """
    try:
        (line,) = (v for v in Path("/proc/self/status").read_text().splitlines() if v.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    except (OSError, ValueError):
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _tree_mb(pid: int) -> float:
    """Return the memory of a process and its descendants, with shared pages counted once; 0 if it cannot be read."""
    return sum(map(own_mb, tree(pid)))


def tree(pid: int) -> list[int]:
    """Return a process and all that it has begun, directly or not."""
    try:
        files = Path(f"/proc/{pid}").glob("task/*/children")
        children = [int(child) for file in files for child in file.read_text().split()]
    except OSError:  # it has just ended
        return [pid]
    return [pid, *(own for child in children for own in tree(child))]


def own_mb(pid: int) -> float:
    """Return the memory of a process, of shared pages its share; 0 if it cannot be read."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in rollup if line.startswith("Pss:")) * 1024 / 1e6
    except (OSError, StopIteration):  # it has just ended
        return 0.0


HEADER = ("images", "peak MB", "main process MB", "network loaded MB", "seconds")


def table(result: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return a network's table: header and rows."""
    keys = ("all_mb", "peak_mb", "loaded_mb", "seconds")
    rows = [[f"{row['images']:,}", *(number(row[key]) for key in keys)] for row in result["rows"]]
    return list(HEADER), rows


def print_network(result: dict[str, Any]) -> None:
    """Print the table of one network."""
    print_table(f"{result['network']}: peak memory grows by {result['growth']:.1%}", *table(result))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", metavar="NAME")
    parser.add_argument("--counts", type=int, nargs="+", metavar="IMAGES")
    parser.add_argument("--maps", type=int, help="feature maps of each layer to project")
    parser.add_argument("--quick", action="store_true", help="squeezenet1_0 on few images")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(_build_one(options.one, options.folder, options.counts[0], options.maps)))
        return
    write_results("memory", run(settings_from(options, Settings(), QUICK)))


if __name__ == "__main__":
    main()
