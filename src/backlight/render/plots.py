"""Plots: curves and maps by matplotlib, in one style, without pyplot and its global state."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import cycle
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#686870",
    "axes.labelcolor": "#18181b",
    "axes.grid": True,
    "grid.color": "#e4e4e8",
    "axes.axisbelow": True,
    "xtick.color": "#686870",
    "ytick.color": "#686870",
    "figure.titlesize": 13,
    "lines.linewidth": 1.6,
}
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8c8c94")
"""Okabe & Ito's, which the colour-blind can tell apart."""


class Plot(Figure):
    """A matplotlib figure that a notebook shows by itself."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=110)
        return buffer.getvalue()


def new_plot(
    rows: int, columns: int, size: tuple[float, float], title: str = "", note: str = ""
) -> tuple[Plot, list[list[Axes]]]:
    """Return an empty figure and its axes, row by row.

    Args:
        rows: Rows of axes.
        columns: Columns of axes.
        size: Width and height in inches.
        title: Above the axes.
        note: Below them: what the colours mean, what was measured.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Plot(figsize=size, layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False)
        if title:
            figure.suptitle(title, x=0.01, ha="left")
        if note:
            figure.supxlabel(note, x=0.01, ha="left", fontsize=8, color="#686870")
    return figure, [list(row) for row in axes]


def colours(names: Sequence[str]) -> dict[str, str]:
    """Return a colour for each name.

    Example:
        >>> colours(["mean", "blur"])
        {'mean': '#0072b2', 'blur': '#d55e00'}
    """
    return dict(zip(names, cycle(COLOURS), strict=False))


def without_axes(axes: Axes) -> None:
    """Take the frame, ticks and grid away, for pictures."""
    axes.set_axis_off()
    axes.grid(False)
