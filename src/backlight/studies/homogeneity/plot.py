"""The figure of a homogeneity study: each layer's maps compared with chance, above the most and least alike maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.gridspec import SubplotSpec
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from backlight.render.plots import (
    COLOURS,
    NOTE_POINTS,
    Plot,
    hold_all,
    new_plot,
    shortened,
    shortened_apart,
    without_axes,
    wrapped,
)
from backlight.studies.homogeneity.likeness import Aspect
from backlight.studies.homogeneity.result import Homogeneity
from backlight.studies.plots import replace_last_row

_GREY, _DARK = "#c4c4ca", "#52525b"
_AXES: dict[Aspect, str] = {
    "projections": "correlation of their edges,\nless what all hits share",
    "patches": "correlation of their edges,\nless what all hits share",
    "colours": "1 - distance / 100 of mean\nCIELAB colours",
    "labels": "share of pairs with\nthe same label",
}
_ROW, _JITTER = 0.42, 0.16
_NAME = 1.6
"""The largest width of a layer's name, in inches."""


def draw(result: Homogeneity) -> Plot:
    """Return a column of strips for each aspect, layers from top to bottom, and below some maps of the last layer."""
    aspects, n_layers = result.aspects, len(result.layers)
    width = 3.0 * max(len(aspects), 2) + 2.2
    strips = _ROW * n_layers + 1.3
    pictures = _example_height(result, width)
    figure, axes = new_plot(
        2, len(aspects), (width, strips + pictures + 1.7), _title(result), _note(result, width)
    )
    below = replace_last_row(axes, [strips, pictures])
    for i, aspect in enumerate(aspects):
        _strips(axes[0][i], result, aspect, is_first=i == 0)
    _examples(figure, below, result)
    figure.legend(handles=_legend(), loc="outside upper right", ncols=3, frameon=False, borderaxespad=0.2)
    return figure


def _title(result: Homogeneity) -> str:
    # the legend stands to the right of the first line
    return f"Homogeneity\nhow alike the hits of one feature map are: {result.network} over {Path(result.images).name}"


def _note(result: Homogeneity, width: float) -> str:
    text = (
        "Each blue dot is a feature map: the mean similarity over the pairs of its hits. Grey: the same for "
        f"{result.config.n_draws} sets of as many hits drawn from different maps of the layer (bar: their middle 90 %, "
        "tick: their mean). AUC: how likely a map scores higher than such a set; 0.5 is chance. Lines of the means: "
        f"95 % interval over maps. Projections: {result.rules}; tiles are aligned on the unit."
    )
    return wrapped(text, width, NOTE_POINTS)


def _strips(axes: Axes, result: Homogeneity, aspect: Aspect, is_first: bool) -> None:
    for y, layer in enumerate(result.layers):
        _null(axes, y, result.null(layer, aspect))
        _maps(axes, y, result, layer, aspect)
    hold_all(
        [axes], y=(len(result.layers) - 0.45, -0.6)
    )  # from large to small: the first layer is at the top
    names = shortened_apart(result.layers, _NAME, 10.0)
    axes.set_yticks(range(len(result.layers)), names if is_first else [])
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
    axes.set_title(aspect)
    axes.set_xlabel(_AXES[aspect])
    top = axes.get_yaxis_transform()
    axes.text(1.02, -0.62, "AUC", transform=top, fontsize=8, color=_DARK, va="bottom")


def _null(axes: Axes, y: int, values: NDArray[np.float64]) -> None:
    """Draw the sets from different maps as a line with a tick at its mean, above the maps' dots."""
    if len(values):
        low, high = np.quantile(values, [0.05, 0.95])
        axes.plot([low, high], [y + 0.26] * 2, color=_GREY, linewidth=5, solid_capstyle="butt")
        axes.plot(values.mean(), y + 0.26, "|", color=_DARK, markersize=7, markeredgewidth=1.4)


def _maps(axes: Axes, y: int, result: Homogeneity, layer: str, aspect: Aspect) -> None:
    """Draw a layer's maps as dots, their mean with its interval, and the AUC on the right."""
    scores = np.array([own.by_aspect[aspect].score for own in result.scores(layer)])
    scores = scores[~np.isnan(scores)]
    found = result.layer_score(layer, aspect)
    if not len(scores) or found.auc is None or found.excess.mean is None:
        return
    spread = np.random.default_rng(0).uniform(-_JITTER, _JITTER, len(scores))
    axes.plot(scores, y - 0.1 + spread, "o", color=COLOURS[0], alpha=0.35, markersize=3, markeredgewidth=0)
    mean = scores.mean()
    # how far the interval reaches to the left and to the right of the mean; it is as wide around the score
    around = [[found.excess.mean - (found.excess.low or 0)], [(found.excess.high or 0) - found.excess.mean]]
    axes.errorbar(
        mean, y - 0.1, xerr=around, fmt="D", color=COLOURS[1], markersize=4.5, linewidth=1.6, zorder=3
    )
    axes.text(
        1.02,
        y,
        f"{found.auc:.2f}",
        transform=axes.get_yaxis_transform(),
        fontsize=8,
        va="center",
        color=_DARK,
    )


def _legend() -> list[Line2D]:
    return [
        Line2D([], [], color=COLOURS[0], marker="o", ls="", markersize=4, alpha=0.6, label="a feature map"),
        Line2D([], [], color=COLOURS[1], marker="D", ls="-", markersize=5, label="mean over maps"),
        Line2D([], [], color=_GREY, linewidth=5, label="hits of different maps"),
    ]


def _example_height(result: Homogeneity, width: float) -> float:
    """Return the height in inches of the example maps, so that their tiles are squares."""
    n_maps, _, n_hits = result.examples.shape[:3]
    n_rows = (n_maps + 1) // 2
    tile = (width - 0.6) / 2 / max(n_hits, 1)
    return float(n_rows * (2 * tile + 0.3) + 0.35)


def _examples(figure: Plot, place: SubplotSpec, result: Homogeneity) -> None:
    """Show the most alike maps of the last layer on the left and the least alike on the right."""
    layer, n = result.layers[-1], len(result.example_channels) // 2
    scores = {own.channel: own.by_aspect["projections"] for own in result.scores(layer)}
    cells = place.subgridspec(max(n, 1), 2)
    for i, channel in enumerate(result.example_channels.tolist()):
        column, row = divmod(i, n)  # the first n channels go down the left column, the others down the right
        axes = figure.add_subplot(cells[row, column])
        axes.imshow(_sheet(result.examples[i]), aspect="equal")
        own = scores[channel]
        text = f"channel {channel}: {own.score:.2f} (chance {own.null_mean:.2f}, p = {own.p_value:.2g})"
        if row == 0:
            which = ("most", "least")[column]
            text = f"{shortened(layer, _NAME, 8.5)}, {which} alike by projections\n{text}"
        axes.set_title(text, fontsize=8.5)
        without_axes(axes)


def _sheet(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (2, hits, side, side, 3) as one picture of two rows with white gaps."""
    gap = 4
    padded = np.pad(pictures, ((0, 0), (0, 0), (0, gap), (0, gap), (0, 0)), constant_values=255)
    _, n, side = padded.shape[:3]
    # (kind, row, hit, column, 3): pictures of one kind lie side by side
    return padded.transpose(0, 2, 1, 3, 4).reshape(2 * side, n * side, 3)
