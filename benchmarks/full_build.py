"""A full build: all feature maps of all layers of a network over a set of photographs, and the time of each phase.

Prints a table and writes benchmarks/results/full_build.json.

    python benchmarks/full_build.py [--network squeezenet1_0] [--images 1000] [--maps N] [--quick]
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from backlight.scan import choose_layers
from backlight_side import BuildOptions, build
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


@dataclass(frozen=True)
class Settings:
    """What is built.

    Attributes:
        network: A classifier of torchvision.
        images: Number of photographs, at most.
        maps: Feature maps of each layer; None for all.
        layers: Layer names; None for the default layers.
        sgemm_sizes: Sizes of the matrices that measure the machine's rate.
    """

    network: str = "squeezenet1_0"
    images: int = 1000
    maps: int | None = None
    layers: tuple[str, ...] | None = None
    sgemm_sizes: tuple[int, ...] = (2048, 3072, 4096)


QUICK = Settings(images=64, maps=4)


class Phases:
    """A progress callback that records when each phase began and ended, and how much it did."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._ends: dict[str, tuple[float, int]] = {}

    def __call__(self, phase: str, done: int, total: int) -> None:
        """Record how much of a phase is done."""
        self._ends[phase] = time.perf_counter(), done

    def finish(self) -> dict[str, Any]:
        """Return seconds, number done and rate of each phase; the last phase ends now.

        Work before the first report of a phase, such as capturing its graph, counts towards that phase.
        """
        now, before, found = time.perf_counter(), self._start, {}
        last = next(reversed(self._ends), None)
        for phase, (end, done) in self._ends.items():
            seconds = (now if phase == last else end) - before
            found[phase] = {"seconds": seconds, "done": done, "rate": done / seconds}
            before = end
        return found | {"total": {"seconds": now - self._start}}


def run(settings: Settings) -> dict[str, Any]:
    """Return the time of each phase of a build and a description of the result, as plain JSON."""
    use_all_cores()
    sgemm = sgemm_gflops(settings.sgemm_sizes)
    _, net, is_random = load_network(settings.network)
    paths = photographs(settings.images)
    with TemporaryDirectory() as folder:
        path, phases = Path(folder) / "full.atlas", Phases()
        build(net, paths, path, BuildOptions(settings.maps, settings.layers), phases)
        times = phases.finish()
        n_bytes = path.stat().st_size
    layers = choose_layers(net, settings.layers)
    return {
        "machine": machine(sgemm),
        "settings": asdict(settings),
        "weights": "random" if is_random else "trained",
        "images": len(paths),
        "layers": len(layers),
        "maps": sum(min(y.n_maps, settings.maps or y.n_maps) for y in layers),
        "projections": times.get("project", {}).get("done", 0),
        "phases": times,
        "file_bytes": n_bytes,
    }


def table(results: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the table of the phases: header and rows."""
    units = {"scan": "images", "certify": "images", "project": "projections", "light": "images"}
    rows = []
    for phase, found in results["phases"].items():
        rate = f"{number(found['rate'])} {units[phase]}/s" if phase in units else ""
        done = f"{found['done']:,} {units[phase]}" if phase in units else ""
        rows.append([phase, number(found["seconds"]), done, rate])
    return ["phase", "seconds", "done", "rate"], rows


def describe(results: dict[str, Any]) -> str:
    """Return what was built, in one line."""
    settings = results["settings"]
    return (
        f"{settings['network']}, {results['weights']} weights: {results['maps']:,} maps of {results['layers']} layers "
        f"over {results['images']} photographs; a file of {results['file_bytes'] / 1e6:.0f} MB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", metavar="NAME")
    parser.add_argument("--images", type=int, help="photographs")
    parser.add_argument("--maps", type=int, help="feature maps of each layer")
    parser.add_argument("--quick", action="store_true", help="few images and maps")
    options = parser.parse_args()
    results = run(settings_from(options, Settings(), QUICK))
    print_table(describe(results), *table(results))
    write_results("full_build", results)


if __name__ == "__main__":
    main()
