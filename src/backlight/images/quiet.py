"""Keeps what Pillow warns about and logs off the screen while images are decoded, from any thread."""

from __future__ import annotations

import logging
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_FILTER = ("ignore", None, Warning, re.compile(r"PIL\."), 0)
_lock = threading.Lock()
_holders = 0

# With no handler anywhere, Python would print what Pillow logs; a handler of the program's still gets it.
logging.getLogger("PIL").addHandler(logging.NullHandler())


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Ignore what Pillow's own modules warn about until the block ends; all other warnings pass.

    `warnings.catch_warnings` puts back a whole list of filters, which goes wrong when threads interleave.
    This adds one filter when the first holder enters and takes that one away when the last leaves. Every
    change of the filters makes Python forget which warnings it has shown once, so a long run holds the block
    throughout.
    """
    global _holders
    with _lock:
        _holders += 1
        if _FILTER not in warnings.filters:
            warnings.filterwarnings("ignore", module=_FILTER[3].pattern)
    try:
        yield
    finally:
        with _lock:
            _holders -= 1
            if _holders == 0 and isinstance(warnings.filters, list) and _FILTER in warnings.filters:
                warnings.filters.remove(_FILTER)
