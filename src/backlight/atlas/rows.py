"""The rows that a build writes: what it will do, and of what it has found feature maps, hits and examples of bands."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from backlight.atlas.descriptions import LayerDescription, field_row
from backlight.atlas.origin import CLASSES
from backlight.engines.plan import Plan
from backlight.network.exact import coarsest_eps
from backlight.network.sources import direct_sources
from backlight.scan import LayerScan, Scan
from backlight.scan.certain import Settled, bounds_of
from backlight.storage.arrays import packed

Row = tuple[Any, ...]
PARTS = ("bands", "wholes")
"""Parts of an atlas that can be added later: fields of a plan, and keys of the table `meta`."""
CANDIDATES = 0
"""The step of certifying that holds the candidates."""
INSERT_HIT = (
    "INSERT INTO hit (layer_id, channel, rank, value, image_id, row, col) VALUES (?, ?, ?, ?, ?, ?, ?)"
)


def meta_rows(plan: Plan) -> Iterable[Row]:
    """Yield what is built, and how, at the beginning of a build."""
    yield "identity", plan.identity.to_json()
    yield "batch_size", json.dumps(plan.settings.batch_size)
    yield "threads", json.dumps(plan.settings.threads)
    for name in PARTS:
        yield name, json.dumps(getattr(plan, name))
    if plan.class_names:
        yield CLASSES, json.dumps(plan.class_names)
    yield "phase", json.dumps("scan")


def layer_rows(plan: Plan) -> Iterable[Row]:
    """Yield a row of each layer."""
    sources = direct_sources({layer.name: plan.net.node(layer) for layer in plan.layers})
    for i, layer in enumerate(plan.layers):
        own = LayerDescription(
            layer.operator, layer.shape, layer.rectified, layer.receptive_field, sources[layer.name]
        )
        yield i, layer.name, own.to_json()


def field_rows(plan: Plan) -> Iterable[Row]:
    """Yield the receptive field of each layer, for the view of hits."""
    for i, layer in enumerate(plan.layers):
        yield field_row(i, layer.receptive_field, plan.preprocessing.crop)


def map_rows(layer_index: int, result: LayerScan) -> Iterable[Row]:
    """Yield a row of each feature map of a layer."""
    statistics = result.statistics
    for channel, (mean, peak) in enumerate(zip(statistics.means, statistics.maxima, strict=True)):
        histogram = statistics.histogram[channel].astype("<i8").tobytes()
        yield layer_index, channel, float(mean), float(peak), int(statistics.n_active[channel]), histogram


def candidate_row(plan: Plan, scan: Scan) -> Row:
    """Return the candidates for hits of the feature maps that are shown, each (c, k) with the bounds (c,), packed."""
    arrays: dict[str, Any] = {}
    eps = coarsest_eps(plan.net)
    for i, (layer, channels) in enumerate(zip(plan.layers, plan.channels, strict=True)):
        result, own = scan.layers[layer.name], list(channels)
        arrays |= {f"{i}.{name}": array[own] for name, array in vars(result.hits).items()}
        arrays[f"{i}.bounds"] = bounds_of(result.statistics.maxima, eps)[own]
    return CANDIDATES, packed(arrays)


def settled_rows(layer_index: int, channel: int, found: Settled) -> Iterable[Row]:
    """Yield the hits of a feature map that have been certified."""
    hits = zip(found.values, found.image_ids, found.places, strict=True)
    for rank, (value, image_id, (row, col)) in enumerate(hits):
        yield layer_index, channel, rank, float(value), int(image_id), *_place(int(row), int(col))


def hit_rows(layer_index: int, result: LayerScan, channels: Sequence[int], top: int) -> Iterable[Row]:
    """Yield the hits in which the map is active: a unit at or below zero is no hit of a rectified map.

    For atlases of earlier formats, whose hits are those that the scan found.
    """
    for channel in channels:
        hits = zip(
            result.hits.values[channel, :top],
            result.hits.image_ids[channel, :top],
            result.hits.places[channel, :top],
            strict=True,
        )
        for rank, (value, image_id, (row, col)) in enumerate(hits):
            # An id of -1 is an empty place.
            if image_id >= 0 and value > 0:
                yield layer_index, channel, rank, float(value), int(image_id), *_place(int(row), int(col))


def band_rows(layer_index: int, result: LayerScan, channels: Sequence[int]) -> Iterable[Row]:
    """Yield the examples of the bands of feature maps; none where an earlier version began the scan."""
    if result.bands is None:
        return
    for channel in channels:
        for bin, value, image_id, row, col in result.bands.of(channel):
            yield layer_index, channel, bin, value, image_id, *_place(row, col)


def _place(row: int, col: int) -> tuple[int | None, int | None]:
    """Return a unit's place as it is kept; a row of -1 is a fully connected unit."""
    return (None, None) if row < 0 else (row, col)
