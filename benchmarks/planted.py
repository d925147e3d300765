"""Small networks whose weights are set by hand, so that the pixels responsible for a unit are known.

Every network finds patterns of random black and white pixels by matched filters with a threshold. What lies between
those detectors and the unit is the family: pools, strided convolutions, skips, concatenations, distractors, inhibition.
The image shows each pattern at a known place, and the truth follows from how the network was built:

* responsible are the pixels of the pieces whose removal changes the unit;
* possible are all pixels from which a path of nonzero weights leads to the unit, whatever the image;
* distractors are patterns that the image shows and that the unit ignores.

`ground_truth.py` measures projections against it.
"""

from __future__ import annotations

from contextlib import suppress

import numpy as np

from planted_families import BUILDERS
from planted_scene import NoRoomError, Scene
from planted_truth import FAMILIES, Family, Plan, Planted

__all__ = ["FAMILIES", "Family", "Plan", "Planted", "draw_plan", "plant"]

_N_TRIES = 2000


def draw_plan(family: Family, seed: int) -> Plan:
    """Return a random plan of a family."""
    rng = np.random.default_rng([FAMILIES.index(family), seed])
    pattern, stride = int(rng.integers(3, 6)), int(rng.integers(1, 3))
    # Two patterns must fit into one window where a weaker copy of the first is the distractor.
    # Elsewhere two patterns, one of them perhaps a pixel larger on each side, must fit two cells apart.
    least = max(2, -(-(pattern + 1) // (2 * stride)))
    window = -(-pattern // stride) + 2 if family == "distractors" else int(rng.integers(least, 6 - stride))
    is_max = family in ("max pool", "distractors", "alternatives", "inhibition", "cancellation")
    # Behind a pool that comes first there is nothing below it but the detectors.
    pool_first = is_max and bool(rng.integers(2))
    below = 0 if pool_first else int(rng.integers(3))
    is_low = family in ("alternatives", "saturation") and bool(rng.integers(2)) and not pool_first
    overlaps, above = family != "distractors" and bool(rng.integers(2)), int(rng.integers(4))
    return Plan(family, seed, pattern, stride, window, overlaps, pool_first, below, above, is_low)


def plant(plan: Plan) -> Planted:
    """Return the network of a plan, with an image in which its detectors fire at the planned places only.

    Patterns and places are drawn until they do.
    """
    for attempt in range(_N_TRIES):
        rng = np.random.default_rng([FAMILIES.index(plan.family), plan.seed, attempt])
        scene = Scene(plan, rng)
        with suppress(NoRoomError):
            found = BUILDERS[plan.family](scene)
            if found.fires() == found.expected:
                return found
    raise RuntimeError(f"{plan}: no patterns found that only their own detectors answer to")
