"""Steps: what is seen of a network at one of them, and how it joins what was seen before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.studies.evolution.labels import natural_key
from backlight.studies.evolution.result import EvolutionResult

_BY_MAP = ("image_ids", "values", "places", "scales", "filters", "winners")


@dataclass(frozen=True, eq=False)
class Step:
    """What is seen of a network at one step; arrays are rows of those of `EvolutionResult`.

    Attributes:
        paths: Where the strongest images are, by id as text.
        tiles: For each sampled map its projection as WebP.
        arrays: `image_ids`, `values`, `places`, `scales`, `filters` and `winners`.
    """

    paths: dict[str, str]
    tiles: tuple[bytes, ...]
    arrays: dict[str, NDArray[Any]]


def with_step(result: EvolutionResult, name: str, weights: str, step: Step) -> EvolutionResult:
    """Return an evolution with a step in its place among the others; one of the same name is replaced.

    Args:
        result: The steps so far.
        name: What the step is called.
        weights: The network's fingerprint at the step.
        step: What was seen.
    """
    rows = [row for row, label in enumerate(result.steps) if label != name]
    labels = sorted([*(result.steps[row] for row in rows), name], key=natural_key)
    at = labels.index(name)
    kept = _tiles_of(result)
    tiles = [kept[row] for row in rows]
    tiles.insert(at, step.tiles)
    known = [result.weights[row] for row in rows]
    known.insert(at, weights)
    arrays = {own: np.insert(getattr(result, own)[rows], at, step.arrays[own], axis=0) for own in _BY_MAP}
    lengths = np.array([[len(own) for own in one] for one in tiles], np.int64)
    joined = replace(
        result,
        steps=tuple(labels),
        weights=tuple(known),
        paths=result.paths | step.paths,
        tiles=np.frombuffer(b"".join(own for one in tiles for own in one), np.uint8),
        tile_ends=lengths.cumsum().reshape(lengths.shape),
        unlike=np.insert(result.unlike[rows], at, np.nan, axis=0),
        **arrays,
    )
    return _compared(joined, [at, at + 1])


def _compared(result: EvolutionResult, rows: Sequence[int]) -> EvolutionResult:
    """Return an evolution in which some rows are compared with those before them."""
    unlike = result.unlike.copy()
    for row in rows:
        if row < len(unlike):
            unlike[row] = result.unlikeness_of(row, row - 1) if row else np.nan
    return replace(result, unlike=unlike)


def _tiles_of(result: EvolutionResult) -> list[tuple[bytes, ...]]:
    """Return the projections as WebP, step by step and map by map."""
    data, ends = result.tiles.tobytes(), [0, *result.tile_ends.ravel().tolist()]
    n_maps = result.tile_ends.shape[1]
    pieces = [data[start:stop] for start, stop in pairwise(ends)]
    return [tuple(pieces[i : i + n_maps]) for i in range(0, len(pieces), n_maps)]
