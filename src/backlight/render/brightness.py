"""Scaling: signed projection values to pictures in which grey is zero."""

from __future__ import annotations

from collections.abc import Callable
from math import log

import numpy as np
from jaxtyping import Float, UInt8
from numpy.typing import NDArray

from backlight.errors import BadInputError
from backlight.render.scaling import (
    DEFAULT_SCALING,
    LOGISTIC_QUANTILE,
    PERCENTILE,
    POWER,
    Scaling,
    parse_scaling,
)

Values = NDArray[np.float64]


def scale(
    values: Float[np.ndarray, "h w c"],
    method: Scaling | str = DEFAULT_SCALING,
    reference: Float[np.ndarray, "..."] | None = None,
) -> UInt8[np.ndarray, "h w 3"]:
    """Return signed values as an 8-bit picture: 128 is zero, 255 and 1 are equally far from it.

    Args:
        values: Signed values of any magnitude, 1 channel (drawn as grey) or 3.
        method: How; a member of `Scaling` or its name.
        reference: The values that the scale is taken from; None takes those that are drawn. Pass the values
            of several tiles to scale them jointly; never those of another layer.

    Raises:
        BadInputError: Neither 1 nor 3 channels, an unknown method, a value that is not finite.

    *Convention*: nothing but zeros gives plain grey. MIN_MAX alone maps the smallest value to 1 and the
    largest to 255, so that its zero may be any grey; equal values give plain grey there too.

    Example:
        >>> scale(np.array([[[-2.0], [0.0], [1.0]]]), "symmetric")[0, :, 0]
        array([  1, 128, 192], dtype=uint8)
    """
    if values.ndim != 3 or values.shape[2] not in (1, 3):
        raise BadInputError(f"values to draw are (h, w, c) with 1 or 3 channels, got {values.shape}")
    # -1..1 becomes 1..255, so that zero has a code of its own; one channel is shown as three: (h, w, 1) -> (h, w, 3)
    drawn = np.rint(128 + 127 * stretch(values, method, reference)).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(drawn, (*drawn.shape[:2], 3)))


def stretch(
    values: Float[np.ndarray, "..."],
    method: Scaling | str = DEFAULT_SCALING,
    reference: Float[np.ndarray, "..."] | None = None,
) -> Float[np.ndarray, "..."]:
    """Return the values scaled to [-1, 1], as float64: what `scale` draws as 1..255.

    Args:
        values: Signed values.
        method: How; a member of `Scaling` or its name.
        reference: The values that the scale is taken from; None takes those given.

    Raises:
        BadInputError: An unknown method, a value that is not finite.

    Example:
        >>> stretch(np.array([-4.0, 0.0, 1.0]), "root")
        array([-1. ,  0. ,  0.5])
    """
    signed = np.asarray(values, np.float64)
    fitted = signed if reference is None else np.asarray(reference, np.float64)
    if not (np.isfinite(signed).all() and np.isfinite(fitted).all()):
        raise BadInputError("a value to draw is not finite; check the projection it came from")
    curve = _CURVES[parse_scaling(method)]
    if not fitted.any():  # a scale of nothing: all zeros stay zero, and anything else is beyond it
        return np.sign(signed)
    # a percentile, or a reference of other values, leaves some beyond the ends
    return np.clip(curve(signed, fitted), -1.0, 1.0)


def _percentile(values: Values, reference: Values) -> Values:
    # zeros are left out: most projections fill a small part of their box, and their percentile would be zero
    magnitudes = np.abs(reference[reference != 0])
    return values / float(np.percentile(magnitudes, PERCENTILE))


def _symmetric(values: Values, reference: Values) -> Values:
    return values / float(np.abs(reference).max())


def _min_max(values: Values, reference: Values) -> Values:
    low, high = float(reference.min()), float(reference.max())
    if low == high:
        return np.zeros_like(values)
    return 2 * (values - low) / (high - low) - 1


def _logistic(values: Values, reference: Values) -> Values:
    """Return the sigmoid of the paper's code.

    *Differs*: where the quantile is nearly zero, the smallest value is taken, as there, and where that is
    too, the largest magnitude; "nearly zero" is below 1e-5 of the largest magnitude, not of one.
    """
    largest = float(np.abs(reference).max())
    ends = (abs(float(v)) for v in (np.quantile(reference, LOGISTIC_QUANTILE), reference.min(), largest))
    # the largest magnitude always passes, so there is one
    end = next(v for v in ends if v >= 1e-5 * largest)
    # The sigmoid 1 / (1 + exp(-log(99) r / a)), stretched from 0..1 to -1..1, is tanh(log(99) r / 2a).
    return np.tanh(values * (0.5 * log(99) / end))


def _root(values: Values, reference: Values) -> Values:
    magnitudes: Values = (np.abs(values) / float(np.abs(reference).max())) ** POWER
    return np.sign(values) * magnitudes


_CURVES: dict[Scaling, Callable[[Values, Values], Values]] = {
    Scaling.PERCENTILE: _percentile,
    Scaling.SYMMETRIC: _symmetric,
    Scaling.MIN_MAX: _min_max,
    Scaling.LOGISTIC: _logistic,
    Scaling.ROOT: _root,
}
