"""Damaged results and adaptive networks are refused in one line, or are as they were: a short run of `results.py`."""

from __future__ import annotations

from fuzz.results import fuzz


def test_damaged_results_and_networks_are_refused_in_one_line_or_as_they_were() -> None:
    found = fuzz(120, seed=1)
    assert set(found) <= {"refused", "as it was", "another result"}
    assert found["refused"] > 60
