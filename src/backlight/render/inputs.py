"""Inputs of a network as the pictures that they were made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from numpy.typing import NDArray


def draw_input(
    values: Float[np.ndarray, "c h w"],
    like: Float[np.ndarray, "c h2 w2"] | None = None,
    normalised: tuple[Sequence[float], Sequence[float]] | None = None,
) -> UInt8[np.ndarray, "h w 3"]:
    """Return an input of a network as a picture.

    Args:
        values: The input.
        like: The input whose range is black to white, where `normalised` is not known; None for the input itself.
        normalised: Mean and standard deviation of each channel, which were taken out of values in 0..1.

    *Convention*: without `normalised` the smallest value of `like` is black and its largest white, and an input of one
    value is grey. Other than three channels are shown by their mean.

    Example:
        >>> draw_input(np.array([[[-3.0, 1.0, 5.0]]]))[0, :, 0].tolist()
        [0, 128, 255]
        >>> draw_input(np.array([[[-1.0, 1.0, 9.0]]]), normalised=((0.5,), (0.5,)))[0, :, 0].tolist()
        [0, 255, 255]
    """
    shown = _colours(values)
    if normalised is not None:
        means, stds = (np.asarray(own, shown.dtype) for own in normalised)
        scaled = shown * stds + means
    else:
        within = shown if like is None else _colours(like)
        low, high = within.min(), within.max()
        scaled = (shown - low) / (high - low) if high > low else np.full_like(shown, 0.5)
    drawn: NDArray[np.uint8] = np.rint(255 * scaled.clip(0, 1)).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(drawn, (*drawn.shape[:2], 3)))


def _colours(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return values (c, h, w) as colours (h, w, 3), or by their mean (h, w, 1)."""
    shown = np.moveaxis(values, 0, 2)
    return shown if shown.shape[2] == 3 else shown.mean(2, keepdims=True)
