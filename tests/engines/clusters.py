"""A Ray cluster of several nodes on this machine, on the loopback only, and what happens to clusters."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from backlight.engines.ray import on_the_loopback


@contextmanager
def cluster(n_nodes: int, cpus: int = 2) -> Iterator[Any]:
    """Hold a cluster: the head, where nothing runs, and nodes; Ray is connected to it."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray.cluster_utils import Cluster

    memory = 100 * 2**20
    with on_the_loopback():
        found = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "object_store_memory": memory, "include_dashboard": False},
        )
        try:
            for _ in range(n_nodes):
                found.add_node(num_cpus=cpus, object_store_memory=memory)
            ray.init(found.address, log_to_driver=False, logging_level=50)
            yield found
        finally:
            ray.shutdown()
            found.shutdown()


def stations() -> list[int]:
    """Return the processes of the stations of clusters that this process has begun, oldest first."""
    return sorted(pid for pid in _below(os.getpid()) if b"ray::_Actor" in _text(Path(f"/proc/{pid}/cmdline")))


def kill(pid: int) -> None:
    """Kill a process as the system would when memory runs out."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _below(pid: int) -> list[int]:
    """Return the processes that a process has begun, directly or not."""
    children = [
        int(own) for file in Path(f"/proc/{pid}/task").glob("*/children") for own in _text(file).split()
    ]
    return children + [own for child in children for own in _below(child)]


def _text(file: Path) -> bytes:
    with suppress(OSError):  # the process has just ended
        return file.read_bytes()
    return b""
