"""Limits of a probe: how much a page may ask for. Importing this takes no PyTorch."""

from __future__ import annotations

MOST_BYTES = 32_000_000
"""Bytes of a picture that may be uploaded; its pixels have Pillow's limit, as in a build."""

MOST_WAITING = 16
"""Jobs that may wait."""

MOST_IMAGES, MOST_JOBS = 32, 64
"""Images and ended jobs that are kept, the latest; in memory only."""
