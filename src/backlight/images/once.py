"""A cache that makes each value once, however many threads ask for it, and keeps the latest within a limit."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar, final

V = TypeVar("V")


@dataclass(eq=False)
class _Slot(Generic[V]):
    lock: threading.Lock = field(default_factory=threading.Lock)
    made: list[V] = field(default_factory=list)  # empty, or the value
    n_bytes: int = 0


@final
class OnceCache(Generic[V]):
    """Values by key. Two threads that ask for the same one make it once; for different ones, neither waits.

    A pickled copy is empty: what is in it can be made again.

    Example:
        >>> cache = OnceCache(10, len)
        >>> cache.get("a", lambda: b"123456"), cache.get("a", lambda: b"never made")
        (b'123456', b'123456')
    """

    def __init__(self, most_bytes: int, n_bytes: Callable[[V], int]) -> None:
        """Start empty.

        Args:
            most_bytes: How much is kept. The value used longest ago goes first; the latest stays, however large.
            n_bytes: Gives the size of a value; picklable.
        """
        self._most_bytes, self._size_of = most_bytes, n_bytes
        self._lock = threading.Lock()
        self._slots: OrderedDict[Hashable, _Slot[V]] = OrderedDict()
        self._n_bytes = 0

    def __reduce__(self) -> tuple[type[OnceCache[V]], tuple[int, Callable[[V], int]]]:
        """Leave out the values and the locks."""
        return OnceCache, (self._most_bytes, self._size_of)

    @property
    def n_bytes(self) -> int:
        """What the values take that are kept."""
        return self._n_bytes

    def get(self, key: Hashable, make: Callable[[], V]) -> V:
        """Return the value of a key, which is made where it is not kept; what `make` raises is passed on."""
        with self._lock:
            slot = self._slots.setdefault(key, _Slot())
            self._slots.move_to_end(key)
        with slot.lock:
            if not slot.made:
                value = make()
                slot.made.append(value)
                self._keep(key, slot, self._size_of(value))
            return slot.made[0]

    def _keep(self, key: Hashable, slot: _Slot[V], n_bytes: int) -> None:
        """Count a new value, and drop what was used longest ago."""
        with self._lock:
            if self._slots.get(key) is not slot:  # dropped while it was being made
                return
            slot.n_bytes = n_bytes
            self._n_bytes += n_bytes
            self._slots.move_to_end(key)
            while self._n_bytes > self._most_bytes and len(self._slots) > 1:
                self._n_bytes -= self._slots.popitem(last=False)[1].n_bytes
