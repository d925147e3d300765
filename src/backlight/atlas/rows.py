"""The rows that a build writes of what it has found: feature maps, their hits, the examples of their bands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from backlight.scan import LayerScan

Row = tuple[Any, ...]


def map_rows(layer_index: int, result: LayerScan) -> Iterable[Row]:
    """Yield a row of each feature map of a layer."""
    statistics = result.statistics
    for channel, (mean, peak) in enumerate(zip(statistics.means, statistics.maxima, strict=True)):
        histogram = statistics.histogram[channel].astype("<i8").tobytes()
        yield layer_index, channel, float(mean), float(peak), int(statistics.n_active[channel]), histogram


def hit_rows(layer_index: int, result: LayerScan, channels: Sequence[int]) -> Iterable[Row]:
    """Yield the hits in which the map is active: a unit at or below zero is no hit of a rectified map."""
    for channel in channels:
        hits = zip(
            result.hits.values[channel],
            result.hits.image_ids[channel],
            result.hits.places[channel],
            strict=True,
        )
        for rank, (value, image_id, (row, col)) in enumerate(hits):
            # An id of -1 is an empty place.
            if image_id >= 0 and value > 0:
                yield layer_index, channel, rank, float(value), int(image_id), *_place(row, col)


def band_rows(layer_index: int, result: LayerScan, channels: Sequence[int]) -> Iterable[Row]:
    """Yield the examples of the bands of feature maps; none where an earlier version began the scan."""
    if result.bands is None:
        return
    for channel in channels:
        for bin, value, image_id, row, col in result.bands.of(channel):
            yield layer_index, channel, bin, value, image_id, *_place(row, col)


def _place(row: int, col: int) -> tuple[int | None, int | None]:
    """Return a unit's place as it is kept; a row of -1 is a fully connected unit."""
    return (None, None) if row < 0 else (int(row), int(col))
