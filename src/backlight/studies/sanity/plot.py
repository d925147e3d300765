"""The figure of the sanity checks: similarity over depth for each measure, and what the switches do."""

from __future__ import annotations

from math import ceil

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from backlight.projection.controls import SWITCHES
from backlight.render.plots import COLOURS, Plot, hold_all, new_plot, shortened, told_apart, width_of
from backlight.studies.intervals import mean_interval
from backlight.studies.plots import correlation_ends
from backlight.studies.sanity.result import Sanity
from backlight.studies.sanity.similarity import METRICS, TITLES

_ROWS = ("this layer and\nall above random", "this layer alone\nrandom", "switches replaced")
_PANEL, _INSIDE, _ROW = 3.0, 2.5, 2.4
"""Inches: the width of a panel and of its axis, and the height of a row."""
_NAME, _TICK, _MOST_TICKS = 1.5, 7.5, 16
"""The largest width of a layer's name in inches, its points, and how many names an axis has room for."""
_BAR, _STEP = 0.25, 0.27


def draw(result: Sanity) -> Plot:
    """Return the figure: a column for each measure of similarity, above of other weights, below of other switches."""
    n_hits = result.top_down.shape[2]
    note = (
        f"Similarity to the trained network's projection: mean over {n_hits} hits, with 95 % intervals (bands and "
        "lines). 1: the projection does not change; 0: nothing of it remains.\nA method that shows what was learnt "
        "falls to 0 when weights are random. Switches: max pools unpool to other places. Left out: projections that "
        "are zero."
    )
    names, angle, height = _names(result)
    title = f"Sanity checks of {result.layer}: what remains when weights or switches are replaced"
    size = _PANEL * len(METRICS) + 1.8, 3 * _ROW + height + 1.2
    figure, axes = new_plot(3, len(METRICS), size, title, note)
    for m, metric in enumerate(METRICS):
        column = [row[m] for row in axes]
        for r, name in enumerate(result.rules):
            # top_down[r] is (weights, hits, metrics), switches[r] (kinds, hits, metrics)
            for one, values in zip(column, (result.top_down, result.one_by_one), strict=False):
                _line(one, values[r, :, :, m], COLOURS[r], name)
            _bars(column[2], result.switches[r, :, :, m], COLOURS[r], r - (len(result.rules) - 1) / 2)
        column[0].set_title(TITLES[metric], loc="left", fontsize=9)
        for one, text in zip(column, _ROWS, strict=True):
            one.set_ylabel("" if m else text)
        column[0].set_xticks(range(len(names)), [""] * len(names))
        column[1].set_xticks(range(len(names)), names, rotation=angle, fontsize=_TICK)
        column[1].set_xlabel("layers with weights, from the pixels up")
        column[2].set_xticks(range(len(SWITCHES)), SWITCHES)
    for row in axes:
        hold_all(row, y=(-0.1, 1.02))
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside right upper", frameon=False)
    return figure


def _names(result: Sanity) -> tuple[list[str], int, float]:
    """Return a name for each layer's tick, the angle at which they are written, and the height in inches they take."""
    n = len(result.weights)
    every = ceil(n / _MOST_TICKS)
    # of many layers every second, third, ... has a name, the last one among them
    names = [
        shortened(name, _NAME, _TICK) if (n - 1 - i) % every == 0 else ""
        for i, name in enumerate(told_apart(result.weights))
    ]
    widest = max(width_of(name, _TICK) for name in names)
    return (names, 0, 0.0) if widest * n < _INSIDE else (names, 90, widest)


def _line(axes: Axes, values: NDArray[np.float64], colour: str, name: str) -> None:
    """Draw the means over the hits of similarities (weights, hits) as a line, with a band for their intervals."""
    mean, low, high = correlation_ends([mean_interval(own) for own in values])
    places = np.arange(len(mean))
    axes.plot(places, mean, color=colour, label=name, marker="o", markersize=2.5)
    if len(places) == 1:  # a band needs two places
        axes.vlines(places, low, high, color=colour, linewidth=1)
    else:
        axes.fill_between(places, low, high, color=colour, alpha=0.12, linewidth=0)


def _bars(axes: Axes, values: NDArray[np.float64], colour: str, offset: float) -> None:
    """Draw a bar for the mean over the hits of similarities (kinds, hits), beside those of other rule sets."""
    mean, low, high = correlation_ends([mean_interval(own) for own in values])
    places = np.arange(len(mean)) + offset * _STEP
    axes.bar(places, np.nan_to_num(mean), _BAR, color=colour)
    axes.vlines(places, low, high, color="#18181b", linewidth=1)
