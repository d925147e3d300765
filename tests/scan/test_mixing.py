"""Mixing: the hash of an id never changes, and can be undone."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from backlight.scan.mixing import mixed, unmixed


def by_whole_numbers(image_id: int) -> int:
    """Return SplitMix64's hash of an id, with Python's numbers, which never wrap around."""
    bits = image_id * 0x9E3779B97F4A7C15 % 2**64
    bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    bits = (bits ^ bits >> 27) * 0x94D049BB133111EB % 2**64
    return bits ^ bits >> 31


@given(st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=20))
def test_a_hash_is_that_of_splitmix_and_gives_its_id_back(ids: list[int]) -> None:
    found = mixed(np.array(ids, np.int64))
    assert found.tolist() == [by_whole_numbers(own) for own in ids]
    assert unmixed(found).tolist() == ids


def test_the_smallest_hash_of_neighbouring_ids_is_at_no_favoured_place() -> None:
    smallest = mixed(np.arange(64_000)).reshape(-1, 8).argmin(1)
    assert np.abs(np.bincount(smallest, minlength=8) / 8000 - 1 / 8).max() < 0.015
