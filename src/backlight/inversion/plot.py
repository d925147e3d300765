"""The figure of one inversion: the pictures, and the cost of each term at each step."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from backlight.inversion.colours import RMS
from backlight.inversion.lost import equal_restarts, lost
from backlight.inversion.result import Inversion
from backlight.render.plots import Plot, colours, new_plot, without_axes


def draw(result: Inversion) -> Plot:
    """Return the original, the best restart, and the curve of each term, with restarts as thin lines.

    Between them, of several restarts of equal error: their mean, and how much they differ at each pixel.
    """
    pictures = [("original", result.original)] if result.original.size else []
    pictures.append(
        ("found" if len(result.pictures) == 1 else "best of the restarts", result.pictures[result.best])
    )
    title = f"{result.model} · {result.layer} · {result.title}"
    several = result.goal == "invert" and len(equal_restarts(result)) > 1
    n_panels = len(pictures) + 2 * several
    figure, (axes,) = new_plot(1, n_panels + 1, (3.0 * n_panels + 5.0, 3.6), title, _note(result))
    for own, (name, picture) in zip(axes, pictures, strict=False):
        own.imshow(picture)
        own.set_title(name)
        without_axes(own)
    if several:
        _draw_lost(result, *axes[-3:-1])
    curves = axes[-1]
    for i, (term, colour) in enumerate(colours(result.terms).items()):
        values = result.curves[i]  # (steps, n): the mean as a line, each of several restarts as a thin one
        steps = np.arange(1, len(values) + 1)
        curves.plot(steps, values.mean(1), color=colour, label=term)
        if values.shape[1] > 1:
            curves.plot(steps, values, color=colour, linewidth=0.4, alpha=0.6)
    curves.set_yscale("log" if result.goal == "invert" else "symlog")
    curves.set_xlabel("step (one forward and one backward pass)")
    curves.set_ylabel("cost")
    curves.set_title("what each term costs")
    curves.legend(frameon=False)
    return figure


def _draw_lost(result: Inversion, left: Axes, right: Axes) -> None:
    """Draw the mean of the restarts of equal error, and how much they differ."""
    found = lost(result)
    left.imshow(found.mean)
    left.set_title(f"mean of {len(found.restarts)} restarts")
    shown = right.imshow(found.deviation, cmap="gray", vmin=0, vmax=RMS)
    right.set_title("how they differ: lost where bright")
    right.figure.colorbar(shown, ax=right, extend="max", label="standard deviation, grey levels")
    for own in (left, right):
        without_axes(own)


def _note(result: Inversion) -> str:
    best, steps = result.best, result.curves.shape[1]
    only = f" Only {result.config.matched}." if result.config.matched else ""
    text = f"Recipe {result.config.recipe}, {steps} steps ({result.stopped}).{only}"
    if result.goal != "invert":
        return f"{text} Inner product with what is sought: {-result.shown_goals[best]:.3g}."
    shown = result.shown
    text += f" Relative error of the picture {shown.relative_errors[best]:.1%}"
    if shown.normalised_errors is not None and shown.squared_errors is not None:
        text += f", normalised {shown.normalised_errors[best]:.1%} (squared form {shown.squared_errors[best]:.1%})"
    text += f"; of the image before rounding {result.relative_errors[best]:.1%}"
    same = result.same_label
    answer = "" if same is None else f"; the network's answer is {'the same' if same[best] else 'another'}"
    return f"{text}{answer}."
