"""The figure of a faithfulness study: for each layer the fall against the covered share."""

from __future__ import annotations

from math import ceil

import numpy as np
from matplotlib.axes import Axes

from backlight.render.plots import COLOURS, Plot, hold_all, new_plot, shortened
from backlight.studies.covering import FILLS_IN_WORDS
from backlight.studies.faithfulness.result import Faithfulness
from backlight.studies.faithfulness.scores import CONTROLS
from backlight.studies.intervals import mean_interval

_COLUMNS = 4
_GREYS = dict(zip(CONTROLS, ("#000000", "#000000", "#b4b4bc", "#b4b4bc", "#686870", "#686870"), strict=True))
_DASHES = dict(zip(CONTROLS, ("--", "-", ":", "--", "--", ":"), strict=True))


def draw(result: Faithfulness) -> Plot:
    """Return the curves of every layer, rule sets in colour and controls in grey, over maps, hits and fills."""
    columns = min(_COLUMNS, len(result.layers))
    rows = ceil(len(result.layers) / columns)
    fills = ", ".join(FILLS_IN_WORDS[fill] for fill in result.config.fills)
    note = (
        f"Fall: share of the activation that is lost when the pixels show {fills}; mean over these, hits and maps.\n"
        "Band: 95 % interval over maps, of the rules that made the atlas. "
        "Turned: the same pixels turned about the unit by 90, 180 and 270 degrees. Centre: a disc around the middle of "
        "the receptive field.\n"
        "Sobel: edges. Other map, other image: projection of another map here, of another hit of the map."
    )
    figure, axes = new_plot(
        rows, columns, (3.1 * columns + 1.6, 2.6 * rows + 1.2), "Covering what a projection shows", note
    )
    flat = [one for row in axes for one in row]
    for one, layer in zip(flat, result.layers, strict=False):
        _curves(one, result, layer)
    for one in flat[len(result.layers) :]:
        one.set_visible(False)
    handles, labels = flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False)
    return figure


def _curves(axes: Axes, result: Faithfulness, layer: str) -> None:
    shares = [100 * share for share in result.config.shares]
    _, falls = result.map_falls(layer)
    falls = falls.mean(3)  # over fills: (maps, methods, shares)
    for i, name in enumerate(result.methods):
        found = [mean_interval(column) for column in falls[:, i].T]
        if any(interval.mean is None for interval in found):
            continue
        means, low, high = (
            np.array([getattr(f, part) for f in found], float) for part in ("mean", "low", "high")
        )
        colour = _GREYS.get(name, COLOURS[i % len(COLOURS)])
        axes.plot(shares, means, _DASHES.get(name, "-"), color=colour, label=name, marker="o", markersize=2.5)
        if name == result.own_rules(layer):
            axes.fill_between(shares, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.set_title(shortened(layer, 2.4, 9.0), loc="left", fontsize=9)
    axes.set_xlabel("covered, % of the receptive field")
    axes.set_ylabel("fall of the activation")
    hold_all([axes], x=(0.0, max(shares)), y=(0.0, 1.02))
