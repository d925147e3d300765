"""Sanity of the pictures that `evidence.py` measures: how alike they stay with random weights or another's switches.

The study is `backlight.studies.sanity`, over the first of the maps that were drawn for the other two studies; the
strongest hit of each. It studies the three rule sets of the papers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight import Network
from backlight.atlas import Atlas
from backlight.images import ImageSource
from backlight.projection.controls import SWITCHES
from backlight.studies import sanity
from backlight.studies.intervals import mean_interval
from backlight.studies.sanity import SanityConfig
from backlight.studies.sanity.run import COMPARED_RULES
from backlight.studies.sanity.similarity import METRICS

SIGNED = METRICS[0]
CHECKS = ("top", "all", "switches")
"""What is replaced: the weights of the topmost layer, those of all layers, the switches by those of another image."""


RULES = tuple(rules.name for rules in COMPARED_RULES)
KEPT = "sanity"
SETTINGS = {"maps": 8, "hits": 1}
"""How many maps of a layer, and hits of each: of the 12 maps drawn for the other studies, these are the first."""


def study(
    name: str, atlas: Atlas, net: Network, source: ImageSource, layers: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the rows of a network, one for each layer and rule set."""
    rows = []
    for place, layer in enumerate(layers):
        found = sanity.run(atlas, net, source, layer, SanityConfig(**SETTINGS))
        # (rules, hits, metrics) each; top_down has all weights random at its first place, the topmost's at its last
        parts = (
            found.top_down[:, -1],
            found.top_down[:, 0],
            found.switches[:, SWITCHES.index("other image")],
        )
        rows += [
            {"network": name, "place": place, "layer": layer, "rules": rules, "n": found.top_down.shape[2]}
            | {check: _measured(own[i]) for check, own in zip(CHECKS, parts, strict=True)}
            for i, rules in enumerate(found.rules)
        ]
    return rows


def _measured(values: NDArray[np.float64]) -> dict[str, list[float | None]]:
    """Return the mean and its interval for each measure of similarities (hits, metrics)."""
    found = {name: mean_interval(values[:, i]) for i, name in enumerate(METRICS)}
    return {
        name: [None if value is None else round(value, 4) for value in (own.mean, own.low, own.high)]
        for name, own in found.items()
    }
