"""The cost of a study of faithfulness for each hit and control, here and in another checkout of Backlight.

Each run is a process of its own, with the `src` folder of its checkout first on PYTHONPATH; the two take turns, and the
fastest run of each counts. Time is the processor's, on one thread, so other programs on the machine change it little.
Prints a table and writes benchmarks/results/studies.json.

    python benchmarks/studies.py [--against PATH_OF_ANOTHER_CHECKOUT] [--rounds 3] [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

import backlight
import backlight_demo
from backlight.studies import faithfulness
from common import load_network, machine, number, print_table, settings_from, sgemm_gflops, write_results

PART = "studies"
_HERE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Settings:
    """What is studied.

    Attributes:
        network: A classifier of torchvision.
        layer: The layer.
        images: Photographs of the demo.
        maps: Feature maps of the layer.
        hits: Hits of each map.
        rounds: Runs of each checkout.
        against: The other checkout; None for this one alone.
        sgemm_sizes: Sizes of the matrices that measure the machine's rate.
    """

    network: str = "squeezenet1_0"
    layer: str = "features.7.expand3x3_activation"
    images: int = 40
    maps: int = 6
    hits: int = 3
    rounds: int = 3
    against: Path | None = None
    sgemm_sizes: tuple[int, ...] = (2048, 3072, 4096)


QUICK = Settings(images=8, maps=1, hits=1, rounds=1, sgemm_sizes=(512,))


def run(settings: Settings) -> dict[str, Any]:
    """Return the cost of the study in each checkout, and their ratio, as plain JSON."""
    checkouts = {"here": _HERE} | ({"other": settings.against} if settings.against else {})
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in checkouts}
    for _ in range(settings.rounds):
        # the other one first: a mistake in its place shows at once
        for name, checkout in reversed(checkouts.items()):
            runs[name].append(_in_own_process(checkout, settings))
    rows = [
        {"checkout": name, "revision": revision(checkouts[name])} | min(found, key=lambda own: own["cpu_ms"])
        for name, found in runs.items()
    ]
    for row in rows:
        row["ratio"] = row["cpu_ms"] / rows[-1]["cpu_ms"]
    shown = {name: value for name, value in asdict(settings).items() if name != "against"}
    return {
        "machine": machine(sgemm_gflops(settings.sgemm_sizes)),
        "settings": shown,
        "load": os.getloadavg()[0],
    } | {"rows": rows}


def revision(checkout: Path) -> str:
    """Return the short hash of what is checked out in a folder, with a + where it was changed; empty without git."""
    done = [
        subprocess.run(["git", "-C", str(checkout), *words], capture_output=True, text=True, check=False)
        for words in (["rev-parse", "--short=7", "HEAD"], ["status", "--porcelain", "--", "src"])
    ]
    return done[0].stdout.strip() + ("+" if done[1].stdout.strip() else "")


def _in_own_process(checkout: Path, settings: Settings) -> dict[str, Any]:
    """Return what a run with the code of a checkout measured."""
    sources = [checkout / "src", checkout / "demo" / "src"]
    path = os.pathsep.join([*map(str, sources), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, __file__, "--one", json.dumps(asdict(settings) | {"against": None})]
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    used = Path(found.pop("package"))
    if not used.is_relative_to(checkout.resolve()):
        raise RuntimeError(f"{checkout} was to be measured, but Python imported {used}")
    return found


def measure(settings: Settings) -> dict[str, Any]:
    """Return the cost of the study with the code that is imported here, after a small one to warm up."""
    torch.set_num_threads(1)
    _, net, _ = load_network(settings.network)
    photographs = sorted(backlight_demo.photographs().glob("*.jpg"))[: settings.images]
    warming = faithfulness.FaithfulnessConfig(maps=1, hits=1, shares=(0.1,), fills=("mean",))
    config = faithfulness.FaithfulnessConfig(
        maps=settings.maps, hits=settings.hits, shares=(0.1, 0.2), fills=("mean", "blur", "noise")
    )
    with TemporaryDirectory() as folder:
        path = Path(folder) / "study.atlas"
        atlas = backlight.build(net, photographs, path, [settings.layer], maps=settings.maps)
        faithfulness.run(atlas, net, photographs, [settings.layer], warming)
        start = time.process_time()
        found = faithfulness.run(atlas, net, photographs, [settings.layer], config)
        seconds = time.process_time() - start
        atlas.close()
    n_hits, n_methods = len(found.falls), len(found.methods)
    each = 1000 * seconds / (n_hits * n_methods)
    package = str(Path(backlight.__file__).resolve())
    return {"package": package, "hits": n_hits, "methods": n_methods, "cpu_s": seconds, "cpu_ms": each}


def table(results: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the table of the checkouts: header and rows."""
    header = [
        "code",
        "hits",
        "projections and controls of each",
        "CPU s",
        "ms for each hit and control",
        "ratio",
    ]
    rows = []
    for row in results["rows"]:
        name = f"{'this' if row['checkout'] == 'here' else 'the other'} ({row['revision'] or 'unknown'})"
        counts = [str(row["hits"]), str(row["methods"])]
        rows.append([name, *counts, number(row["cpu_s"]), number(row["cpu_ms"]), f"{row['ratio']:.2f}"])
    return header, rows


def describe(results: dict[str, Any]) -> str:
    """Return what was studied, in one line."""
    own = results["settings"]
    return (
        f"{own['network']}, `{own['layer']}`: {own['maps']} maps, {own['hits']} hits of each, the fastest of "
        f"{own['rounds']} runs; load of the machine {results['load']:.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="another checkout of Backlight")
    parser.add_argument("--rounds", type=int, help="runs of each checkout")
    parser.add_argument("--quick", action="store_true", help="one hit, one run")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(Settings(**json.loads(options.one)))))
        return
    results = run(settings_from(options, Settings(), QUICK))
    print_table(describe(results), *table(results))
    write_results(PART, results)


if __name__ == "__main__":
    main()
