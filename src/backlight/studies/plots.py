"""What the figures of several studies share."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill

from matplotlib.axes import Axes
from matplotlib.gridspec import SubplotSpec
from matplotlib.patches import Rectangle

_LETTERS_PER_INCH = 14.5


def note_lines(text: str, width: float) -> str:
    """Return the note below a figure broken into lines that fit a width in inches.

    Example:
        >>> note_lines("small is alike, large is not", 1.0).split("\\n")
        ['small is alike,', 'large is not']
    """
    return fill(text, round(_LETTERS_PER_INCH * width))


def replace_last_row(axes: Sequence[Sequence[Axes]], heights: Sequence[float]) -> SubplotSpec:
    """Give the rows of axes their relative heights, remove the last row, and return its whole width."""
    grid = axes[0][0].get_gridspec()
    assert grid is not None
    grid.set_height_ratios(list(heights))
    for one in axes[-1]:
        one.remove()
    return grid[-1, :]


def outline(
    axes: Axes, corner: tuple[float, float], size: tuple[float, float], *lines: tuple[str, float]
) -> None:
    """Draw a rectangle once for each line, a colour and a width in points; a wide white one below keeps it visible.

    Args:
        axes: Where it is drawn, in its data coordinates.
        corner: Column and row of its first corner.
        size: Width and height.
        lines: What it is drawn with, from the bottom to the top.
    """
    for colour, width in lines:
        axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor=colour, linewidth=width))
