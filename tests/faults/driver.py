"""One build on a cluster, as a program that can be killed: python driver.py FOLDER ADDRESS N_STATIONS SEED.

Images that are read are counted in FOLDER/read; what it is when the scan is done is kept in FOLDER/scanned.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from backlight import Preprocessing, capture, open_images, plan_build
from backlight.atlas import execute
from backlight.engines import ray as ray_engine
from backlight.engines.gathering import Gathering
from backlight.engines.ray import RayConfig, RayEngine, on_the_loopback

SHARD = 16


class Counted:
    """The images of a folder; each one that is read leaves a byte in a file."""

    def __init__(self, folder: Path) -> None:
        self._own, self._log = open_images(folder / "pictures"), folder / "read"
        self.name, self.records = "pictures", self._own.records  # as in every other build

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._own)

    def load(self, image_id: int) -> Any:
        """Return an image, and count it."""
        with self._log.open("ab") as log:
            log.write(b"x")
        return self._own.load(image_id)

    def fingerprint(self) -> str:
        """Return the hash of the images."""
        return self._own.fingerprint()


def make_plan(folder: Path) -> Any:
    """Return the plan of the build."""
    from conftest import SmallNet

    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = capture(SmallNet(), (3, 32, 32), Preprocessing.default(3, 32))
    plan = plan_build(net, Counted(folder), ["relu1", "relu2", "fc"], 4, maps=4, batch_size=8, bands=True)
    return plan.with_settings(replace(plan.settings, shard_images=SHARD))


def main(folder: Path, address: str, n_stations: int, seed: int) -> None:
    """Build the atlas, the shards in an order of its own."""
    ray_engine.PATIENCE_S = 1.0
    generator, node = np.random.default_rng(seed), Gathering._node

    def shuffled(self: Gathering, pieces: Any) -> Any:
        made = node(self, pieces)
        tasks = list(self._tasks)
        self._tasks.clear()
        self._tasks.extend(tasks[i] for i in generator.permutation(len(tasks)))
        return made

    Gathering._node = shuffled  # type: ignore[method-assign]

    def progress(phase: str, done: int, total: int) -> None:
        if phase != "scan" and not (folder / "scanned").exists():
            (folder / "scanned").write_text(str((folder / "read").stat().st_size))
        (folder / "progress").write_text(f"{phase} {done} {total}")

    with on_the_loopback(), RayEngine(folder / "ledger", RayConfig(address, n_stations)) as engine:
        execute(make_plan(folder), folder / "a.atlas", engine, progress=progress)


if __name__ == "__main__":
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
