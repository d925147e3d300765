"""Lets Pillow use memory again while many pictures are decoded."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from PIL import Image

_N_BLOCKS = 8
_pillow: Any = Image  # whose `core` has no types
_lock = threading.Lock()
_holders = 0
_before = 0


@contextmanager
def reused_memory() -> Iterator[None]:
    """Let Pillow keep the memory of up to 8 pictures that it frees, until the block ends.

    Otherwise it gives the memory of every large picture back to the system and asks for it anew, page by page, which
    for pictures of 3 megapixels takes as long as decoding them (docs/performance.md). A block of memory is no larger
    than a picture, and than 16 MB. Blocks of several threads may overlap; what the program has set itself stays.
    """
    global _holders, _before
    with _lock:
        _holders += 1
        if _holders == 1:
            _before = _pillow.core.get_blocks_max()
            _pillow.core.set_blocks_max(max(_before, _N_BLOCKS))
    try:
        yield
    finally:
        with _lock:
            _holders -= 1
            if _holders == 0 and _pillow.core.get_blocks_max() == max(_before, _N_BLOCKS):
                _pillow.core.set_blocks_max(_before)  # which frees what is kept beyond it
