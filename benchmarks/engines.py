"""Stations: how much faster two scan than one, and what the ledger and Ray cost beside a scan in this process.

All contestants take turns, each on one thread, and the median counts; a cluster of this machine is begun once, and its
stations have their network before anything is timed. Prints a table and writes benchmarks/results/engines.json.

    python benchmarks/engines.py [--network resnet18] [--quick]
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch

from backlight import Plan, plan_build
from backlight.engines.gathering import LedgerEngine
from backlight.engines.local import LocalEngine
from backlight.engines.plan import Shard
from backlight.engines.ray import RayConfig, RayEngine, on_the_loopback
from backlight.engines.work import Engine
from common import load_network, machine, number, print_table, settings_from, sgemm_gflops, write_results
from memory import make_pictures

PART = "engines"


@dataclass(frozen=True)
class Settings:
    """How much is measured.

    Attributes:
        network: A classifier of torchvision.
        images: Number of pictures.
        shard: Images of a shard.
        stations: How many there are; the first is the one that others are compared with.
        rounds: How often each contestant scans.
        sgemm_sizes: Sizes of the matrices that measure the machine's rate.
    """

    network: str = "resnet18"
    images: int = 768
    shard: int = 64
    stations: tuple[int, ...] = (1, 2)
    rounds: int = 3
    sgemm_sizes: tuple[int, ...] = (2048, 3072, 4096)


QUICK = Settings(images=64, shard=32, stations=(1,), rounds=1, sgemm_sizes=(256,))


def run(settings: Settings) -> dict[str, Any]:
    """Return the seconds of each contestant, and the ratios, as plain JSON."""
    torch.set_num_threads(1)
    _, net, _ = load_network(settings.network)
    with TemporaryDirectory() as folder, ExitStack() as stack:
        (Path(folder) / "pictures").mkdir()
        make_pictures(Path(folder) / "pictures", settings.images)
        plan = plan_build(net, Path(folder) / "pictures", maps=1, compile="off", shard_images=settings.shard)
        # Room for all contestants at once: those that do not run take no time.
        stack.enter_context(_cluster(sum(settings.stations)))
        engines: dict[str, Engine] = {"this process": LocalEngine()}
        engines["this process, through a ledger"] = LedgerEngine(Path(folder) / "own")
        for n in settings.stations:
            name = f"Ray, {n} station{'s' * (n > 1)}"
            engine = RayEngine(Path(folder) / f"ledger{n}", RayConfig(stations=n))
            engines[name] = stack.enter_context(engine)
            _scan(
                engine, plan, Shard(0, settings.shard * n * 2), Path(folder)
            )  # the stations get their network
        seconds: dict[str, list[float]] = {name: [] for name in engines}
        for _ in range(settings.rounds):
            for name, engine in engines.items():
                seconds[name].append(_scan(engine, plan, Shard(0, plan.n_images), Path(folder)))
        sgemm = machine(sgemm_gflops(settings.sgemm_sizes))
    base = median(seconds["this process"])
    rows = [
        {
            "contestant": name,
            "seconds": median(own),
            "least": min(own),
            "most": max(own),
            "images_per_s": settings.images / median(own),
            "against_this_process": median(own) / base,
        }
        for name, own in seconds.items()
    ]
    return {"machine": sgemm, "settings": asdict(settings), "rows": rows}


@contextmanager
def _cluster(cpus: int) -> Iterator[None]:
    import ray

    with on_the_loopback():
        ray.init(
            "local", num_cpus=cpus, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
        )
    try:
        yield
    finally:
        ray.shutdown()


def _scan(engine: Engine, plan: Plan, wanted: Shard, folder: Path) -> float:
    """Return the seconds of a scan of images; what is left in ledgers is removed."""
    shards = [own for own in plan.shards() if own.stop <= wanted.stop]
    start = time.perf_counter()
    for _ in engine.scan(plan, shards, lambda *_: None):
        pass
    taken = time.perf_counter() - start
    for file in folder.glob("*/*.npz"):
        file.unlink()
    return taken


def table(results: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the table of a run."""
    header = ["", "images/s", "time against this process", "from", "to"]
    base = results["rows"][0]["seconds"]
    return header, [
        [
            row["contestant"],
            number(row["images_per_s"]),
            f"{row['against_this_process']:.2f}",
            f"{row['least'] / base:.2f}",
            f"{row['most'] / base:.2f}",
        ]
        for row in results["rows"]
    ]


TABLES: dict[str, Callable[[dict[str, Any]], tuple[list[str], list[list[str]]]]] = {"scan": table}


def main(settings: Settings) -> None:
    """Measure, print and keep the results."""
    results = run(settings)
    print_table(f"scan of {settings.images} pictures by {settings.network}", *table(results))
    write_results(PART if settings == Settings() else f"{PART}_quick", results)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network")
    parser.add_argument("--quick", action="store_true", help="a minute: shows that it runs")
    for option in ("images", "shard", "rounds"):
        parser.add_argument(f"--{option}", type=int)
    main(settings_from(parser.parse_args(), Settings(), QUICK))
