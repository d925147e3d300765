"""How alike the filters of feature maps are, in one atlas and in two."""

from __future__ import annotations

import numpy as np
import pytest

from backlight.atlas.filters import MapFilters


def filters(
    *rows: tuple[float, float], channels: tuple[int, ...] = (), groups: tuple[int, ...] = ()
) -> MapFilters:
    weights = np.array(rows, np.float32).reshape(len(rows), 2, 1, 1)
    return MapFilters(channels or tuple(range(len(rows))), weights, groups or (0,) * len(rows))


def test_cosines_of_filters() -> None:
    found = filters((1, 1), (2, 2), (-1, -1), (1, 0), (0, 0), channels=(1, 3, 5, 7, 9))
    half = pytest.approx(np.sqrt(0.5))
    one = pytest.approx(1)
    assert found.cosines(1) == {3: one, 5: pytest.approx(-1), 7: half, 9: 0}
    assert found.cosines(7) == {1: half, 3: half, 5: pytest.approx(-np.sqrt(0.5)), 9: 0}
    assert found.cosines(9) == {1: 0, 3: 0, 5: 0, 7: 0}


def test_filters_of_two_groups_are_not_alike() -> None:
    found = filters((1, 0), (1, 0), (1, 0), groups=(0, 0, 1))
    assert found.cosines(0) == {1: 1}
    assert found.cosines(2) == {}


def test_broken_weights_are_like_none() -> None:
    found = filters((1, 0), (np.nan, 0), (1, np.inf), (2, 0))
    assert found.cosines(0) == {3: 1}
    assert found.cosines(1) == {}
    assert found.distances(found) == {0: 0, 3: 0}


def test_distances_are_those_of_namesakes() -> None:
    ours = filters((1, 0), (0, 1), (1, 1), channels=(2, 4, 6))
    theirs = filters((0, 3), (5, 0), (1, 0), channels=(4, 2, 8))
    assert ours.distances(theirs) == {2: 0, 4: 0}
    assert ours.distances(filters((0, 1), channels=(2,))) == {2: 1}
    wider = MapFilters((2,), np.ones((1, 3, 1, 1), np.float32), (0,))
    assert ours.distances(wider) == {}
