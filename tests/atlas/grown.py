"""Comparing atlases that have grown with those that were built at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from atlas.files import make_network
from backlight import Atlas, build

SMALL = {"layers": ["relu1", "relu2", "fc"], "top": 2, "maps": 3, "batch_size": 4, "compile": "off"}
ASKED = {"top": 4, "batch_size": 8, "compile": "off"}


def phases(do: Callable[..., Atlas]) -> set[str]:
    found = set[str]()
    do(progress=lambda phase, *_: found.add(phase)).close()
    return found


def assert_same_pictures(one: Atlas, other: Atlas) -> None:
    """Hold two atlases equal in their hits, and in what is shown of each."""
    n_compared = 0
    for layer in other.layers:
        assert one[layer.name].receptive_field == layer.receptive_field
        assert one[layer.name].channels == layer.channels
        for channel in layer.channels:
            hits = one[layer.name][channel].hits
            assert hits == layer[channel].hits
            for hit, expected in zip(hits, layer[channel].hits, strict=True):
                np.testing.assert_array_equal(hit.projection_values, expected.projection_values)
                np.testing.assert_array_equal(np.asarray(hit.patch), np.asarray(expected.patch))
                n_compared += 1
    assert n_compared > 8


def phases_of(path: Path, folder: Path, **options: bool) -> list[str]:
    """Build an atlas and return the phases that it went through."""
    phases: dict[str, None] = {}
    build(
        make_network(), folder, path, **SMALL, **options, progress=lambda phase, *_: phases.setdefault(phase)
    )
    return list(phases)
