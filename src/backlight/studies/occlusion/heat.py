"""The heat maps of an occlusion study: by square, or by pixel."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from backlight.render.plots import hold_all
from backlight.studies.occlusion.result import Occlusion

SIDE = 2.5
"""Inches: the height of a picture."""

_NOWHERE = "#d8d8dc"
_NARROW = 0.01
"""The least range of a heat map, as a share of the uncovered value: smaller changes are hardly coloured."""

_BAR_GAP, _BAR_WIDTH = 0.1, 0.11


class Heat(NamedTuple):
    """A heat map: values (r, s), that of the uncovered image, what they are, and whether it is drawn by pixel."""

    values: NDArray[np.floating]
    uncovered: float
    label: str
    by_pixel: bool


def draw_heat(axes: Axes, result: Occlusion, heat: Heat) -> None:
    """Draw a heat map with its colour bar: white is the value of the uncovered image."""
    uncovered, values, edges = heat.uncovered, heat.values, edges_of(result)
    if heat.by_pixel:
        height, width = result.image.shape[:2]
        values = result.by_pixel(values)
        edges = np.arange(width + 1) - 0.5, np.arange(height + 1) - 0.5
    # as far on both sides of the uncovered value, so that a fall and a rise of one size are coloured equally strongly
    low, high = min(float(np.nanmin(values)), uncovered), max(float(np.nanmax(values)), uncovered)
    least = _NARROW * (abs(uncovered) or 1)
    reach = max(high - uncovered, uncovered - low, least / 2)
    mesh = axes.pcolormesh(*edges, values, cmap="RdBu_r", vmin=uncovered - reach, vmax=uncovered + reach)
    # five digits tell values apart that differ by a thousandth, and no factor of all stands above the bar
    bar = axes.figure.colorbar(mesh, cax=beside(axes, result), format=lambda value, _: f"{value:.5g}")
    bar.set_label(heat.label, fontsize=8)
    bar.ax.axhline(uncovered, color="black", linewidth=1.2)
    if high - low >= least:
        bar.ax.set_ylim(low, high)  # the colours that occur
    bar.ax.tick_params(labelsize=8)
    bar.ax.grid(False)
    in_pixels(axes, result)


def beside(axes: Axes, result: Occlusion) -> Axes:
    """Return the place of a colour bar right of a picture, of one width for pictures of any shape."""
    width = SIDE * result.image.shape[1] / result.image.shape[0]
    return axes.inset_axes((1 + _BAR_GAP / width, 0, _BAR_WIDTH / width, 1))


def edges_of(result: Occlusion) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the edges of the cells of a heat map, columns first: halfway between the centres of the squares."""
    height, width = result.config.window
    return _axis_edges(result.cols, width), _axis_edges(result.rows, height)


def _axis_edges(starts: NDArray[np.int64], size: int) -> NDArray[np.float64]:
    middles = (starts + (size - 1) / 2).tolist()
    if len(middles) == 1:
        return np.array([middles[0] - size / 2, middles[0] + size / 2])
    between = [(low + high) / 2 for low, high in pairwise(middles)]
    return np.array([2 * middles[0] - between[0], *between, 2 * middles[-1] - between[-1]])


def in_pixels(axes: Axes, result: Occlusion) -> None:
    """Give axes the pixels of the image, and no labels of its rows, which stand at the leftmost panel."""
    height, width = result.image.shape[:2]
    # outer cells reach beyond the image where the square moves by more than its side
    hold_all([axes], (-0.5, width - 0.5), (height - 0.5, -0.5), room=0.0)
    axes.set_aspect("equal")
    axes.set_facecolor(_NOWHERE)
    axes.grid(False)
    axes.tick_params(labelleft=False)
    axes.set_xlabel("column, pixels")
