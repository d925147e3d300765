"""The figure of a trial: what each remedy changes in the accuracy, and what it saves."""

from __future__ import annotations

from backlight.render.plots import COLOURS, Plot, new_plot
from backlight.studies.diagnosis.remedies.result import Trial
from backlight.text import counted

_ROW, _REST, _WIDTH = 0.45, 2.0, 9.0
"""Inches: the height of a remedy's row and of what else there is, and the width."""


def draw(result: Trial) -> Plot:
    """Return the figure: a row for each remedy that could be applied, its change with the interval, and its cost."""
    done = [i for i, own in enumerate(result.tried) if own.is_done]
    refused = len(result.tried) - len(done)
    what = "accuracy" if result.has_labels else "share of answers that stay"
    note = f"Measured on {len(result.labels)} images, with 95 % intervals."
    note += (
        f" {counted(refused, 'remedy', 'remedies')} could not be applied: `lines()` says why."
        if refused
        else ""
    )
    size = (_WIDTH, _ROW * max(len(done), 1) + _REST)
    figure, ((left, right),) = new_plot(1, 2, size, f"Remedies tried on {result.network}", note)
    rows = result.summary()["remedies"]
    for place, i in enumerate(done):
        change, row = result.change(i), rows[i]
        left.plot([100 * (change.mean or 0)], [place], "o", color=COLOURS[0], markersize=4)
        left.hlines(
            [place], 100 * (change.low or 0), 100 * (change.high or 0), color=COLOURS[0], linewidth=1.2
        )
        for k, key in enumerate(("flops", "parameters")):
            right.barh(
                place + 0.2 * (2 * k - 1),
                100 * (row[key] - 1),
                0.36,
                color=COLOURS[k],
                label=_label(key, place),
            )
    names = [result.tried[i].remedy for i in done]
    for axes in (left, right):
        axes.axvline(0, color="#a1a1aa", linewidth=0.8)
        axes.set_ylim(max(len(done), 1) - 0.5, -0.5)
    left.set_yticks(range(len(names)), names)
    right.set_yticks(range(len(names)), [""] * len(names))
    left.set_xlabel(f"change of the {what}, percentage points")
    right.set_xlabel("change of the cost, %")
    if done:
        right.legend(frameon=False, fontsize=8)
    return figure


def _label(key: str, place: int) -> str | None:
    """Return a bar's name in the legend, which has each once."""
    return None if place else {"flops": "FLOPs", "parameters": "parameters"}[key]
