"""Low-pass: projections averaged over a part of the stride of their layer, which removes checkerboards."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from jaxtyping import Float

SHARE = 0.5
"""Of a stride. Averaged over a whole one, pictures can foretell worse (docs/evidence.md, Checkerboards)."""


def box_sides(stride: Sequence[float | Fraction], share: float = SHARE) -> tuple[int, int]:
    """Return height and width of the box that a share of a stride is, each at least 1 pixel.

    Args:
        stride: Vertical and horizontal stride of a layer, in pixels.
        share: Of the stride.

    *Convention*: rounded to whole pixels, halves to the even one.

    Example:
        >>> box_sides((8.0, 5.0)), box_sides((1.0, 2.0), 1.0)
        ((4, 2), (1, 2))
    """
    rows, cols = (max(1, round(share * float(own))) for own in stride)
    return rows, cols


def low_pass(values: Float[np.ndarray, "c h w"], sides: tuple[int, int]) -> Float[np.ndarray, "c h w"]:
    """Return signed values averaged over a box around each pixel; outside of the array they are zero.

    *Convention*: along a side of even length the box reaches one pixel further up or left than down or right.

    Example:
        >>> low_pass(np.array([[[1.0, -1.0, 1.0, -1.0]]]), (1, 2)).tolist()
        [[[0.5, 0.0, 0.0, 0.0]]]
    """
    from scipy import ndimage  # slow to import

    result: Float[np.ndarray, "c h w"] = ndimage.uniform_filter(values, (0, *sides), mode="constant")
    return result
