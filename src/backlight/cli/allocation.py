"""How the program keeps memory between steps that allocate and free the same sizes again and again."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_LARGEST = (64 << 20, 32 << 20)  # glibc before 2.35 takes no more than the second
_KEPT = 256 << 20


def keep_freed_memory() -> bool:
    """Keep up to 256 MB of freed memory for what is asked for next, and return whether this system can.

    Otherwise glibc may give tensors of some megabytes back to the system after each step and take fresh pages, zeroed
    one by one, for the next; whether it does depends on what lies above them. Where it did, inference of adaptive
    networks was 1.3 times, inversion 1.1 times as fast with this setting; a build gains nothing. It is a setting of the
    whole process, so for programs and not for a library to make.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or Windows
        return False
    return any(mallopt(_MMAP_THRESHOLD, size) for size in _LARGEST) and bool(mallopt(_TRIM_THRESHOLD, _KEPT))
