"""Mixing: a hash of an image's id, as good as drawn at random; what is chosen by it depends on nothing else.

*Source*: the finaliser of SplitMix64 (Steele, Lea & Flood 2014); Python's own hash of whole numbers mixes nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Sequential ids are spread by an odd constant first; products and sums wrap around at 64 bits.
_FACTORS = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_SPREAD, _FIRST, _SECOND = (np.uint64(factor) for factor in _FACTORS)
# An odd number has an inverse modulo 2^64: multiplying by it undoes the product.
_UNSPREAD, _UNDO_FIRST, _UNDO_SECOND = (np.uint64(pow(factor, -1, 2**64)) for factor in _FACTORS)


def mixed(image_ids: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return a hash of each id, from 0 to 2^64 - 1; different ids have different hashes.

    Example:
        >>> mixed(np.arange(3)) >> np.uint64(56)
        array([  0, 226, 110], dtype=uint64)
    """
    bits = np.asarray(image_ids).astype(np.uint64) * _SPREAD
    bits = (bits ^ (bits >> np.uint64(30))) * _FIRST
    bits = (bits ^ (bits >> np.uint64(27))) * _SECOND
    return np.asarray(bits ^ (bits >> np.uint64(31)))


def unmixed(hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the ids whose hashes these are.

    Example:
        >>> unmixed(mixed(np.arange(3)))
        array([0, 1, 2])
    """
    # y = x ^ (x >> k) leaves the upper k bits of x as they are; shifted down again, they give the next k, and so on.
    bits = (hashes ^ (hashes >> np.uint64(31)) ^ (hashes >> np.uint64(62))) * _UNDO_SECOND
    bits = (bits ^ (bits >> np.uint64(27)) ^ (bits >> np.uint64(54))) * _UNDO_FIRST
    bits = (bits ^ (bits >> np.uint64(30)) ^ (bits >> np.uint64(60))) * _UNSPREAD
    return np.asarray(bits.astype(np.int64))
