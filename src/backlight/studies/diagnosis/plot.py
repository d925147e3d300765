"""The figure of a diagnosis: which share of each layer's maps has what, and the pictures of the worst findings."""

from __future__ import annotations

from math import ceil

import numpy as np
from matplotlib.axes import Axes
from matplotlib.gridspec import SubplotSpec
from numpy.typing import NDArray

from backlight.render.plots import Plot, new_plot, shortened, without_axes, wrapped
from backlight.studies.diagnosis.kinds import KINDS
from backlight.studies.diagnosis.result import Diagnosis, Finding
from backlight.studies.plots import replace_last_row

_WIDTH, _ROW, _TILE = 11.0, 0.26, 1.75
"""Inches: the width of the figure, the height of a layer's row, and of a picture with its title."""
_NAME, _POINTS = 2.2, 8.0
_COLUMNS, _MOST = 6, 12
_NOT_LOOKED_FOR = "#e4e4e8"


def draw(result: Diagnosis) -> Plot:
    """Return the figure: a row for each layer, a column for each kind of finding, below the pictures as evidence."""
    shown = [own for own in result.findings if own.evidence is not None][:_MOST]
    n_rows = ceil(len(shown) / _COLUMNS)
    heights = [_ROW * len(result.layers) + 1.2, _TILE * n_rows + 0.2]
    title = f"Diagnosis of {result.network}: share of each layer's feature maps that have a finding"
    note = (
        f"{result.n_looked_for:,} things were looked for over {result.n_images} images of {result.images}; "
        f"{len(result.findings)} were found (p values corrected for each kind, Benjamini & Hochberg). Grey: could not "
        "be looked for. Pictures: projections of the maps' strongest hits; of border detectors their mean map."
    )
    figure, axes = new_plot(
        2 if shown else 1, 1, (_WIDTH, sum(heights[: 1 + bool(shown)]) + 1.0), title, note
    )
    _shares(axes[0][0], result)
    if shown:
        _pictures(figure, replace_last_row(axes, heights), result, shown, n_rows)
    return figure


def _shares(axes: Axes, result: Diagnosis) -> None:
    """Draw the table of shares, (layers, kinds)."""
    values = shares_of(result)
    axes.set_facecolor(_NOT_LOOKED_FOR)
    white = np.where(np.isnan(values), np.nan, 0.0)  # nothing was found, which is not grey
    axes.imshow(np.ma.masked_invalid(white), cmap="gray_r", vmin=0, vmax=1, aspect="auto")
    axes.imshow(np.ma.masked_where(~(values > 0), values), cmap="OrRd", vmin=-0.2, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        if value > 0:
            colour = "white" if value > 0.6 else "#18181b"
            text = f"{value:.0%}" if value >= 0.005 else "<1%"
            axes.text(column, row, text, ha="center", va="center", fontsize=_POINTS, color=colour)
    axes.set_yticks(range(len(result.layers)), [shortened(own, _NAME, _POINTS) for own in result.layers])
    axes.set_xticks(range(len(KINDS)), [kind.replace("_", " ") for kind in KINDS])
    axes.tick_params(length=0, labelsize=_POINTS)
    axes.xaxis.tick_top()
    axes.grid(False)


def shares_of(result: Diagnosis) -> NDArray[np.float64]:
    """Return the share of the maps that have a finding, (layers, kinds); NaN where it could not be looked for."""
    rows = [[result.share(kind, [layer]) for kind in KINDS] for layer in result.layers]
    return np.array([[np.nan if value is None else value for value in row] for row in rows], np.float64)


def _pictures(figure: Plot, place: SubplotSpec, result: Diagnosis, shown: list[Finding], n_rows: int) -> None:
    """Show the pictures of findings, in their order."""
    cells = place.subgridspec(n_rows, _COLUMNS)
    for i in range(n_rows * _COLUMNS):
        axes = figure.add_subplot(cells[divmod(i, _COLUMNS)])
        without_axes(axes)
        if i < len(shown) and shown[i].evidence is not None:
            finding = shown[i]
            axes.imshow(result.pictures[finding.evidence])
            maps = ", ".join(map(str, finding.channels[:2]))
            where = shortened(finding.layer, 1.2, _POINTS)
            name = wrapped(KINDS[finding.kind].title, 1.6, _POINTS)
            axes.set_title(f"{name}\n{where}{f', map {maps}' if maps else ''}", fontsize=_POINTS)
