"""The figure of the sanity checks: similarity over depth for each measure, and what the switches do."""

from __future__ import annotations

import numpy as np

from backlight.projection.controls import SWITCHES
from backlight.render.plots import COLOURS, Plot, new_plot
from backlight.studies.intervals import mean_interval
from backlight.studies.sanity.result import Sanity
from backlight.studies.sanity.similarity import METRICS


def draw(result: Sanity) -> Plot:
    """Return the figure of the sanity checks."""
    note = (
        f"Similarity to the trained network's projection, mean over {result.top_down.shape[2]} hits. A method "
        "that shows what was learnt falls to 0.\nTop down: weights of this layer and all above random. Switches: max "
        "pools unpool to other places. Left out: projections that are zero."
    )
    size = 3.0 * len(METRICS) + 1.8, 8.4
    figure, axes = new_plot(3, len(METRICS), size, f"Sanity checks of {result.layer}", note)
    for m, metric in enumerate(METRICS):
        for r, name in enumerate(result.rules):
            colour = COLOURS[r]
            # values[r] is (weights, hits, metrics): a mean over hits for each layer with weights
            for row, values in enumerate((result.top_down, result.one_by_one)):
                means = [mean_interval(own[:, m]).mean for own in values[r]]
                places = range(len(result.weights))
                axes[row][m].plot(
                    places, np.array(means, float), color=colour, label=name, marker="o", markersize=2.5
                )
            heights = [mean_interval(own[:, m]).mean or 0.0 for own in result.switches[r]]
            # three bars around each kind's place, rule sets in order
            axes[2][m].bar(np.arange(len(SWITCHES)) + (r - 1) * 0.27, heights, 0.25, color=colour)
        axes[0][m].set_title(metric, loc="left", fontsize=9)
        axes[0][m].set_ylabel("top down" if not m else "")
        axes[1][m].set_ylabel("one layer at a time" if not m else "")
        axes[1][m].set_xlabel("layers with weights, from the pixels up")
        axes[2][m].set_ylabel("switches" if not m else "")
        axes[2][m].set_xticks(range(len(SWITCHES)), SWITCHES)
        for row in range(3):
            axes[row][m].set_ylim(min(-0.1, axes[row][m].get_ylim()[0]), 1.05)
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside right upper", frameon=False)
    return figure
