"""Rows: of what a scan found, that is kept in which a map is active."""

from __future__ import annotations

import numpy as np

from backlight.atlas.rows import band_rows, hit_rows, map_rows, settled_rows
from backlight.scan import LayerScan
from backlight.scan.certain import Settled


def scanned(is_spatial: bool) -> LayerScan:
    """Return the scan of three images and two maps; the second map is active in the last image only."""
    values = np.array([[1.0, -1.0], [3.0, 0.0], [2.0, 0.5]], np.float32)
    places = np.full((3, 2, 2), -1)
    if is_spatial:
        places[..., 0], places[..., 1] = 4, np.arange(3)[:, None]
    return LayerScan.empty(2, 2).add(values, values, np.arange(10, 13), places.astype(np.int32))


def test_hits_and_examples_are_those_in_which_a_map_is_active() -> None:
    found = scanned(is_spatial=True)
    assert list(hit_rows(7, found, [0, 1], 2)) == [
        (7, 0, 0, 3.0, 11, 4, 1), (7, 0, 1, 2.0, 12, 4, 2), (7, 1, 0, 0.5, 12, 4, 2),
    ]  # fmt: skip
    assert list(hit_rows(7, found, [0], 1)) == [
        (7, 0, 0, 3.0, 11, 4, 1)
    ]  # of two that are kept, as many as are shown
    assert list(hit_rows(7, found, [1], 2)) == [(7, 1, 0, 0.5, 12, 4, 2)]
    examples = list(band_rows(7, found, [0, 1]))
    assert [(row[1], *row[3:]) for row in examples] == [
        (0, 1.0, 10, 4, 0), (0, 2.0, 12, 4, 2), (0, 3.0, 11, 4, 1), (1, 0.5, 12, 4, 2),
    ]  # fmt: skip
    assert all(type(value) in (int, float) for row in examples for value in row)
    for _, channel, bin, *_ in examples:
        assert found.statistics.histogram[channel, bin] == 1


def test_fully_connected_units_have_no_place() -> None:
    found = scanned(is_spatial=False)
    for row in (*hit_rows(0, found, [0], 2), *band_rows(0, found, [0])):
        assert row[-2:] == (None, None)


def test_settled_hits_are_kept_in_their_order() -> None:
    values, ids = np.array([2.5, 1.5], np.float32), np.array([7, 3])
    settled = Settled(values, ids, np.array([[4, 5], [-1, -1]], np.int32), 1)
    assert list(settled_rows(2, 9, settled)) == [(2, 9, 0, 2.5, 7, 4, 5), (2, 9, 1, 1.5, 3, None, None)]


def test_every_map_has_a_row_and_a_scan_without_bands_has_no_examples() -> None:
    found = scanned(is_spatial=True)
    rows = list(map_rows(3, found))
    assert [row[:2] for row in rows] == [(3, 0), (3, 1)]
    assert [row[3:5] for row in rows] == [(3.0, 3), (0.5, 1)]
    assert np.frombuffer(rows[1][5], "<i8").tolist() == found.statistics.histogram[1].tolist()
    assert list(band_rows(3, LayerScan(found.halves, found.statistics), [0, 1])) == []
