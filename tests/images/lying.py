"""A store in memory that misbehaves by a plan: `lying://` reads what was written to `memory://`."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter

import fsspec
from fsspec.implementations.memory import MemoryFileSystem

PASSING = ("late", "error", "short", "long", "empty")
"""Faults that a second question may put right."""


class LyingFileSystem(MemoryFileSystem):
    """What is asked of it is in `requests`; `faults` says which answers are wrong.

    Attributes:
        faults: By path, the faults of its answers in their order; the last one stays if it is "always …".
        share: Share of all answers to which a fault happens that is drawn from `PASSING`.
        seed: Of these draws, which depend on what is asked and how often it has been asked, not on which thread asks.
        told: By path, a size that is not the true one.
    """

    protocol = "lying"

    def __init__(self, **options):
        super().__init__(**options)
        self.start_over()

    def start_over(self):
        self.faults, self.share, self.seed, self.told = {}, 0.0, 0, {}
        self.requests, self._n_asked, self._lock = [], Counter(), threading.Lock()

    @classmethod
    def _strip_protocol(cls, path):
        return MemoryFileSystem._strip_protocol(path.replace("lying://", "memory://", 1))

    def cat_file(self, path, start=None, end=None, **options):
        with self._lock:
            self.requests.append((path, start, end))
            fault = self._fault(path, start, end)
        if fault == "missing":
            raise FileNotFoundError(path)
        if fault == "late":
            raise TimeoutError
        if fault == "error":
            raise OSError("503 Slow Down")
        data = super().cat_file(path, start, end, **options)
        changed = {"short": data[: len(data) // 2], "long": data + b"x", "empty": b"", "garbage": data[::-1]}
        return changed.get(fault, data)

    def info(self, path, **options):
        self.requests.append((path, "info", None))
        found = super().info(path, **options)
        path = self._strip_protocol(path)
        if self.faults.get("info"):
            raise OSError(self.faults["info"])
        return {**found, "size": self.told.get(path, found["size"])}

    def find(self, path, detail=False, **options):
        found = super().find(path, detail=True, **options)
        changed = {name: {**own, "size": self.told.get(name, own["size"])} for name, own in found.items()}
        # in no order, as stores may list
        shuffled = sorted(changed, key=lambda name: hashlib.sha256(name.encode()).digest())
        return {name: changed[name] for name in shuffled} if detail else shuffled

    def _fault(self, path, start, end):
        waiting = self.faults.get(path)
        if waiting:
            kind = waiting[0] if waiting[0].startswith("always ") else waiting.pop(0)
            return kind.removeprefix("always ")
        self._n_asked[path, start, end] += 1
        key = f"{self.seed} {path} {start} {end} {self._n_asked[path, start, end]}"
        drawn = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
        return PASSING[drawn % len(PASSING)] if drawn / 2**64 < self.share else None


fsspec.register_implementation("lying", LyingFileSystem, clobber=True)
