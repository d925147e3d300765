"""What the figures of several studies share."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.gridspec import SubplotSpec
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from backlight.geometry import Box
from backlight.studies.intervals import Interval

_LETTERS_PER_INCH = 14.5


def note_lines(text: str, width: float) -> str:
    """Return the note below a figure broken into lines that fit a width in inches.

    Example:
        >>> note_lines("small is alike, large is not", 1.0).split("\\n")
        ['small is', 'alike, large', 'is not']
    """
    return fill(text, round(_LETTERS_PER_INCH * width))


def correlation_ends(
    found: Sequence[Interval],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the means of correlations, and the lower and upper ends of their intervals as drawn; NaN for none.

    *Convention*: a mean of correlations lies between -1 and 1, and so the interval of a few samples ends there.

    Example:
        >>> correlation_ends([Interval(0.9, 0.5, 1.3, 3), Interval(None, None, None, 0)])[2].tolist()
        [1.0, nan]
    """
    mean, low, high = (
        np.array([getattr(own, part) for own in found], np.float64) for part in ("mean", "low", "high")
    )
    return mean, np.clip(low, -1, 1), np.clip(high, -1, 1)


def replace_last_row(axes: Sequence[Sequence[Axes]], heights: Sequence[float]) -> SubplotSpec:
    """Give the rows of axes their relative heights, remove the last row, and return its whole width."""
    grid = axes[0][0].get_gridspec()
    assert grid is not None
    grid.set_height_ratios(list(heights))
    for one in axes[-1]:
        one.remove()
    return grid[-1, :]


def outline(axes: Axes, box: Box, *lines: tuple[str, float]) -> None:
    """Draw the outline of a box of pixels once for each line, the first at the bottom.

    Args:
        axes: The axes of a picture.
        box: In pixels of the picture.
        lines: Colours, with widths in points; a wide white line below a coloured one sets it off from the picture.
    """
    corner = box.left - 0.5, box.top - 0.5  # pixel 0 is drawn from -0.5 to 0.5
    for colour, width in lines:
        axes.add_patch(
            Rectangle(corner, box.width, box.height, fill=False, edgecolor=colour, linewidth=width)
        )
