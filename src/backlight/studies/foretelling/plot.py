"""The figure of a study of foretelling: by layer and method the rank correlation, plain and given the distance."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from backlight.render.plots import COLOURS, Plot, hold_all, new_plot, shortened_apart, told_apart
from backlight.studies.foretelling.result import CENTRE, Foretelling
from backlight.studies.plots import correlation_ends, note_lines

_TITLES = {"plain": "plain", "partial": "given the distance from the unit"}
_WIDTH = 0.8


def draw(result: Foretelling) -> Plot:
    """Return the correlations of every layer, rule sets in colour and the disc in black, with intervals over maps."""
    size = 1.1 * max(6, len(result.layers)) + 2.2, 6.4
    note = note_lines(
        "A square slides over what a unit sees. Rank correlation between what a method shows under the square and the "
        "share of the activation that is lost when it is covered; mean over the hits of a map, then over maps. Lines: "
        "95 % intervals over maps. Centre: being near the unit. 0 foretells nothing, 1 everything.",
        size[0] - 1.6,
    )
    figure, axes = new_plot(2, 1, size, "Where an activation falls, foretold by projections", note)
    for row, kind in zip(axes, _TITLES, strict=True):
        _bars(row[0], result, kind)
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside right upper", frameon=False)
    return figure


def _bars(axes: Axes, result: Foretelling, kind: str) -> None:
    methods = [name for name in result.methods if kind == "plain" or name != CENTRE]
    step = _WIDTH / len(methods)
    places = np.arange(len(result.layers))
    for i, name in enumerate(methods):
        means, low, high = correlation_ends([result.interval(layer, name, kind) for layer in result.layers])
        at = places + (i + 0.5) * step - _WIDTH / 2
        colour = "#000000" if name == CENTRE else COLOURS[i % len(COLOURS)]
        axes.plot(at, means, "o", color=colour, markersize=4, label=name)
        axes.vlines(at, low, high, color=colour, linewidth=1)
    axes.axhline(0, color="#686870", linewidth=0.8)
    axes.set_xticks(places, shortened_apart(told_apart(result.layers), 1.0, 8.0))
    axes.tick_params(axis="x", labelsize=8, length=0)
    axes.set_title(_TITLES[kind], loc="left", fontsize=9)
    axes.set_ylabel("rank correlation")
    hold_all([axes], y=(-0.04, 0.04))
