"""What an invariance study found, in plain JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from backlight.studies.invariance.moves import MOVE_MEASURES, MoveMeasure
from backlight.studies.invariance.transforms import TRANSFORMS, Transform, is_identity
from backlight.studies.numbers import nanmean, plain

if TYPE_CHECKING:
    from backlight.studies.invariance.result import Invariance

_N_MAPS = 5


def summarise(result: Invariance) -> dict[str, Any]:
    """Return by transformation, layer and measure how far it moves, relative to the original, and its five most and
    five least invariant feature maps.

    `mean` is over images and the amounts that change them, `least_change` the amount that changes them least and how
    far the layer moves there, `furthest` where it moves furthest, `other_image` how far it moves to another image.
    """
    return {
        "images": [_image(result, i) for i in range(len(result.images))],
        **{transform: _transform(result, transform) for transform in TRANSFORMS},
    }


def _image(result: Invariance, i: int) -> dict[str, Any]:
    found: dict[str, Any] = {"name": result.images[i], "class": None}
    if len(result.classes):
        found["class"] = {
            "index": int(result.classes[i]),
            "name": result.class_name(i),
            "is_given": result.class_given,
            "output": result.output,
            "probability": float(result.original_probabilities[i]),
        }
    return found


def _transform(result: Invariance, transform: Transform) -> dict[str, Any]:
    amounts = result.amounts[result.of(transform)]
    changing = np.array([not is_identity(transform, amount) for amount in amounts])
    found: dict[str, Any] = {"amounts": amounts.tolist(), "layers": {}, "probability": None}
    for layer in result.layers:
        found["layers"][layer] = {measure: {} for measure in MOVE_MEASURES}
        for measure, own in found["layers"][layer].items():
            values = nanmean(result.distances(layer, transform, measure))
            own |= _curve(transform, amounts[changing], values[changing])
            own["other_image"] = plain(result.other(layer, measure))
            own["maps"] = _maps(result, layer, transform, measure)
    if len(result.classes):
        values = nanmean(result.probabilities[:, result.of(transform)])
        found["probability"] = {"original": float(result.original_probabilities.mean())} | _probability(
            amounts[changing], values[changing]
        )
    return found


def _curve(transform: Transform, amounts: NDArray[np.float64], values: NDArray[np.float64]) -> dict[str, Any]:
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
    """Return by how much amounts change an image: pixels, |log factor|, degrees to the nearest whole turn.

    Example:
        >>> extents("rotation", np.array([10.0, 350.0, 180.0]))
        array([ 10.,  10., 180.])
    """
    if transform == "scale":
        return np.abs(np.log(amounts))
    if transform == "rotation":
        return np.minimum(amounts % 360, -amounts % 360)
    return np.abs(amounts)


def _probability(amounts: NDArray[np.float64], values: NDArray[np.float64]) -> dict[str, Any]:
    if not len(values):
        return {"mean": None, "lowest": None}
    lowest = int(values.argmin())
    return {
        "mean": float(values.mean()),
        "lowest": {"amount": float(amounts[lowest]), "value": float(values[lowest])},
    }


def _maps(result: Invariance, layer: str, transform: Transform, measure: MoveMeasure) -> dict[str, Any]:
    """Return how many maps are not dead, and the most and least invariant of them.

    *Convention*: of equal maps the first counts as the more invariant.
    """
    moves = result.moves_of_maps(layer, transform, measure)
    others = result.moves_to_others(layer, measure)
    order = np.argsort(moves, kind="stable")[: np.count_nonzero(~np.isnan(moves))]
    rows = [
        {"map": int(i), "moves": float(moves[i]), "to_other_image": plain(float(others[i]))} for i in order
    ]
    return {"n_active": len(rows), "most": rows[:_N_MAPS], "least": rows[::-1][:_N_MAPS]}
