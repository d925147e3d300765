"""Curves over amounts and the moves of feature maps, summed up as plain JSON."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.studies.invariance.transforms import Transform
from backlight.studies.numbers import plain

_N_MAPS = 5


def curve_summary(
    transform: Transform, amounts: NDArray[np.float64], values: NDArray[np.float64]
) -> dict[str, Any]:
    """Return the mean of a curve, its value where the image changes least, and its largest."""
    if not len(values) or np.isnan(values).all():
        return {"mean": None, "least_change": None, "furthest": None}
    least, furthest = int(extents(transform, amounts).argmin()), int(np.nanargmax(values))
    return {
        "mean": plain(float(np.nanmean(values))),
        "least_change": {"amount": float(amounts[least]), "value": plain(float(values[least]))},
        "furthest": {"amount": float(amounts[furthest]), "value": plain(float(values[furthest]))},
    }


def extents(transform: Transform, amounts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how much amounts change an image: pixels, |log factor|, or degrees from the nearest whole turn.

    Example:
        >>> extents("rotation", np.array([10.0, 350.0, 180.0]))
        array([ 10.,  10., 180.])
    """
    if transform == "scale":
        return np.abs(np.log(amounts))
    if transform == "rotation":
        # forwards from the last whole turn, and on to the next: (-amounts) % 360
        return np.minimum(amounts % 360, -amounts % 360)
    return np.abs(amounts)


def probability_summary(amounts: NDArray[np.float64], values: NDArray[np.float64]) -> dict[str, Any]:
    """Return the mean of a curve of probabilities and where it is lowest."""
    if not len(values):
        return {"mean": None, "lowest": None}
    lowest = int(values.argmin())
    return {
        "mean": float(values.mean()),
        "lowest": {"amount": float(amounts[lowest]), "value": float(values[lowest])},
    }


def maps_summary(moves: NDArray[np.float64], others: NDArray[np.float64]) -> dict[str, Any]:
    """Return how many maps are not dead, and the most and least invariant of them.

    Args:
        moves: (maps,) how far each map moves; NaN for a dead one.
        others: (maps,) how far it moves to another image.

    *Convention*: of equal maps the first counts as the more invariant.
    """
    # NaN is sorted last: the dead maps fall off the end
    order = np.argsort(moves, kind="stable")[: np.count_nonzero(~np.isnan(moves))]
    rows = [
        {"map": int(i), "moves": float(moves[i]), "to_other_image": plain(float(others[i]))} for i in order
    ]
    return {"n_active": len(rows), "most": rows[:_N_MAPS], "least": rows[::-1][:_N_MAPS]}
