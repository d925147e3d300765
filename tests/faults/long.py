"""Many builds on a cluster whose drivers, stations and nodes are killed at random: python tests/faults/long.py [KILLS].

Each build is killed three times, wherever it is, in the scan, in the merges or in the projections; its shards are
scanned in an order of its own. Counted are the kills, the builds whose rows differ from the local engine's, and how
often an image was scanned.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from driver import make_plan  # noqa: E402

from atlas.files import rows  # noqa: E402
from backlight.atlas import execute  # noqa: E402
from conftest import make_pictures  # noqa: E402
from engines.clusters import cluster, kill, stations  # noqa: E402

N_IMAGES, N_NODES, KILLS_OF_A_BUILD = 1200, 3, 3
_MEMORY = 100 * 2**20


def main(n_kills: int) -> int:
    """Return the number of faults."""
    base = Path(mkdtemp())
    make_pictures(base / "pictures", N_IMAGES)
    execute(make_plan(base), base / "local.atlas")
    expected = rows(base / "local.atlas")
    generator, killed, n_faults, shares, n_builds = np.random.default_rng(0), Counter[str](), 0, [], 0
    with cluster(N_NODES) as nodes:
        while killed.total() < n_kills:
            folder = base / str(n_builds)
            folder.mkdir()
            (folder / "pictures").symlink_to(base / "pictures")
            _build(folder, nodes, generator, killed, seed=n_builds)
            share = int((folder / "scanned").read_text()) / N_IMAGES
            shares.append(share)
            same = rows(folder / "a.atlas") == expected
            n_faults += not same
            n_builds += 1
            print(
                f"build {n_builds}: {dict(killed)}, images scanned {share:.3f} times, "
                f"{'the same rows' if same else 'OTHER ROWS'}",
                flush=True,
            )
            rmtree(folder)
    print(
        f"{n_builds} builds, {killed.total()} kills ({', '.join(f'{n} of {what}' for what, n in killed.items())}): "
        f"{n_faults} faults; images scanned {np.mean(shares):.3f} times on average, {max(shares):.3f} at most"
    )
    rmtree(base)
    return n_faults


def _build(
    folder: Path, nodes: object, generator: np.random.Generator, killed: Counter[str], seed: int
) -> None:
    """Build until it is done, and kill something three times on the way."""
    whole = 60.0
    # Moments in the work, not in time: the share of the whole at which something is killed.
    moments = sorted(generator.uniform(0.0, 1.0, KILLS_OF_A_BUILD).tolist())
    driver = _start(folder, nodes, seed)
    begun = time.monotonic()
    while driver.poll() != 0:
        if driver.poll() is not None:
            raise SystemExit(f"the driver failed: {driver.stderr.read().decode()[-2000:]}")  # type: ignore[union-attr]
        if time.monotonic() - begun > 20 * whole:
            raise SystemExit("the build hangs")
        time.sleep(0.05)
        if moments and _share(folder) >= moments[0]:
            moments.pop(0)
            what = str(generator.choice(["driver", "station", "node"]))
            if what == "driver":
                driver.kill()
                driver.wait()
                driver = _start(folder, nodes, seed)
            elif what == "station":
                running = stations()
                if running:
                    kill(int(generator.choice(running)))
            else:
                workers = sorted(nodes.worker_nodes, key=lambda own: own.node_id)  # type: ignore[attr-defined]
                node = workers[int(generator.integers(len(workers)))]
                nodes.remove_node(node, allow_graceful=False)  # type: ignore[attr-defined]
                nodes.add_node(num_cpus=2, object_store_memory=_MEMORY)  # type: ignore[attr-defined]
            killed[what] += 1


def _start(folder: Path, nodes: object, seed: int) -> subprocess.Popen[bytes]:
    words = [sys.executable, str(HERE / "driver.py"), str(folder), nodes.address, "3", str(seed)]  # type: ignore[attr-defined]
    environment = {**__import__("os").environ, "PYTHONPATH": str(HERE.parent)}
    return subprocess.Popen(words, env=environment, stderr=subprocess.PIPE)


def _share(folder: Path) -> float:
    """Return how much of the work is done, 0 to 1: half of it is the scan."""
    try:
        phase, done, total = (folder / "progress").read_text().split()
    except (OSError, ValueError):
        return 0.0
    starts = {"scan": 0.0, "certify": 0.5, "project": 0.55, "band": 0.7, "light": 0.9}
    stops = {"scan": 0.5, "certify": 0.55, "project": 0.7, "band": 0.9, "light": 1.0}
    return starts[phase] + (stops[phase] - starts[phase]) * int(done) / max(int(total), 1)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100) > 0)
