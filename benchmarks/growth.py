"""Growth: the time of a build against the number of images and against the number of maps, each with a fitted line.

Prints tables and writes benchmarks/results/growth.json.

    python benchmarks/growth.py [--network squeezenet1_0] [--quick]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from backlight.network import Network
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
from full_build import Phases


@dataclass(frozen=True)
class Settings:
    """What is varied, and what is held fixed.

    Attributes:
        network: A classifier of torchvision.
        image_counts: Numbers of images, with `held_maps` maps.
        map_counts: Feature maps of each layer, with `held_images` images; all if a layer has fewer.
        held_maps: Feature maps of each layer while the images vary.
        held_images: Images while the maps vary.
        layers: Layer names; None for the default layers.
        sgemm_sizes: Sizes of the matrices that measure the machine's rate.
    """

    network: str = "squeezenet1_0"
    image_counts: tuple[int, ...] = (50, 100, 200, 400)
    map_counts: tuple[int, ...] = (4, 8, 16, 32)
    held_maps: int = 4
    held_images: int = 100
    layers: tuple[str, ...] | None = None
    sgemm_sizes: tuple[int, ...] = (2048, 3072, 4096)


QUICK = Settings(image_counts=(20, 40, 80), map_counts=(1, 2, 4), held_maps=1, held_images=20)


def run(settings: Settings) -> dict[str, Any]:
    """Return the times of the builds and the fitted lines, as plain JSON."""
    use_all_cores()
    sgemm = sgemm_gflops(settings.sgemm_sizes)
    _, net, _ = load_network(settings.network)
    _build(net, min(settings.image_counts), 1, settings)  # to warm up
    by_images = [_build(net, count, settings.held_maps, settings) for count in settings.image_counts]
    by_maps = [_build(net, settings.held_images, count, settings) for count in settings.map_counts]
    return {
        "machine": machine(sgemm),
        "settings": asdict(settings),
        "images": {"rows": by_images} | _lines(by_images, "images", "scan_s"),
        "maps": {"rows": by_maps} | _lines(by_maps, "maps", "project_s"),
    }


def _build(net: Network, n_images: int, maps: int, settings: Settings) -> dict[str, Any]:
    paths = photographs(n_images)
    with TemporaryDirectory() as folder:
        phases = Phases()
        build(net, paths, Path(folder) / "growth.atlas", BuildOptions(maps, settings.layers), phases)
        found = phases.finish()
    layers = choose_layers(net, settings.layers)
    return {
        "images": len(paths),
        "maps": sum(min(maps, y.n_maps) for y in layers),
        "projections": found["project"]["done"],
        "total_s": found["total"]["seconds"],
        "scan_s": found["scan"]["seconds"],
        "project_s": found["project"]["seconds"],
    }


def _lines(rows: Sequence[dict[str, Any]], along: str, phase: str) -> dict[str, Any]:
    counts = [row[along] for row in rows]
    return {key: fit_line(counts, [row[key] for row in rows]) for key in ("total_s", phase)}


def fit_line(counts: Sequence[float], seconds: Sequence[float]) -> dict[str, float]:
    """Return slope, intercept and R² of the least-squares line."""
    x, y = np.asarray(counts, float), np.asarray(seconds, float)
    slope, intercept = np.polyfit(x, y, 1)
    left, spread = ((y - slope * x - intercept) ** 2).sum(), ((y - y.mean()) ** 2).sum()
    return {"slope": float(slope), "intercept": float(intercept), "r2": float(1 - left / spread)}


def table(rows: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return the table of some builds: header and rows."""
    keys = ("total_s", "scan_s", "project_s")
    counts = ("images", "maps", "projections")
    cells = [[*(f"{row[key]:,}" for key in counts), *(number(row[key]) for key in keys)] for row in rows]
    return [*counts, "seconds", "scan", "project"], cells


def describe(results: dict[str, Any], along: str) -> str:
    """Return the fitted lines along images or maps, in one line."""
    parts = []
    for key, line in results[along].items():
        if key != "rows":
            parts.append(
                f"{key.removesuffix('_s')} = {number(line['slope'])} s x {along} "
                f"{'+' if line['intercept'] >= 0 else '-'} {number(abs(line['intercept']))} s, R² {line['r2']:.4f}"
            )
    return "; ".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="few images and maps")
    options = parser.parse_args()
    results = run(settings_from(options, Settings(), QUICK))
    for along in ("images", "maps"):
        print_table(describe(results, along), *table(results[along]["rows"]))
    write_results("growth", results)


if __name__ == "__main__":
    main()
