"""A Ray cluster of several nodes on this machine, on the loopback only, and what happens to clusters."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


@contextmanager
def cluster(n_nodes: int, cpus: int = 2) -> Iterator[Any]:
    """Hold a cluster: the head, where nothing runs, and nodes; Ray is connected to it."""
    on_the_loopback()
    import ray
    from ray.cluster_utils import Cluster

    memory = 100 * 2**20
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


def on_the_loopback() -> None:
    """Keep Ray to this machine, and quiet about its use; to be called before anything of it is begun."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray._private import ray_constants

    ray_constants.ENABLE_RAY_CLUSTER = False


def stations() -> list[int]:
    """Return the processes of the stations of clusters that this process has begun, oldest first."""
    return sorted(pid for pid in _below(os.getpid()) if b"ray::_Actor" in _read(pid, "cmdline"))


def kill(pid: int) -> None:
    """Kill a process as the system would when memory runs out."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _below(pid: int) -> list[int]:
    """Return the processes that a process has begun, directly or not."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            # "pid (name) state parent ..."; a name may hold blanks and brackets
            fields = _read(int(folder.name), "stat").rpartition(b")")[2].split()
            if fields:
                parents[int(folder.name)] = int(fields[1])
    found, waiting = [], [pid]
    while waiting:
        above = waiting.pop()
        children = [own for own, parent in parents.items() if parent == above]
        found += children
        waiting += children
    return found


def _read(pid: int, name: str) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/{name}").read_bytes()
    return b""
