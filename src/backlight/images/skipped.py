"""Images that could not be read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Skipped:
    """An image that could not be read, and why.

    Attributes:
        id: Its position in the image set.
        path: Where it lies, relative to the set.
        reason: Why it could not be read.
    """

    id: int
    path: str
    reason: str
