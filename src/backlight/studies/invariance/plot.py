"""The figure of an invariance study, in the layout of the paper's Fig. 5."""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from backlight.render.plots import COLOURS, Plot, hold_all, new_plot, shortened, width_of, without_axes
from backlight.studies.invariance.moves import MOVE_MEASURES, MoveMeasure
from backlight.studies.invariance.result import Invariance
from backlight.studies.invariance.transforms import (
    TRANSFORMS,
    Transform,
    amount_text,
    is_identity,
    transformed,
)
from backlight.studies.plots import note_lines, replace_last_row

_MOST_SHOWN, _GAP = 5, 0.05
_FEWEST_EXAMPLES, _EXAMPLES_A_ROW = 4, 1.2
_PANEL = 3.3, 2.75
_DASHES = ("-", "--", ":", "-.")
_OTHER: dict[str, Any] = {"color": "#8c8c94", "linestyle": (0, (4, 3)), "linewidth": 1.2}
_INCHES_PER_LETTER, _HANDLE, _LINE = 0.085, 0.7, 0.21
_TITLE, _LABEL = 12.0, 10.0
_LEAST_TOP = 0.01
"""The least upper end of the axis of distances, as a share of the originals' lengths: less is next to nothing."""
_AXES: dict[Transform, str] = {
    "translation": "shift down, pixels",
    "scale": "magnification",
    "rotation": "rotation counter-clockwise, degrees",
}


def draw(result: Invariance, raw: bool = False, measure: MoveMeasure = "whole") -> Plot:
    """Return for each transformation (rows) examples, each layer's distance and the class's probability (columns)."""
    n_layers, classified = len(result.layers), len(result.classes) > 0
    columns = 1 + n_layers + classified
    width = columns * _PANEL[0]
    handles, a_row = _legend_rows(result, width)
    heights = [_PANEL[1]] * len(TRANSFORMS) + [_LINE * ceil(len(handles) / a_row) + 0.1]
    figure, axes = new_plot(
        len(heights),
        columns,
        (width, sum(heights) + 1.4),
        f"Invariance: the same image shifted, magnified, turned\n{result.network}",
        note_lines(_note(result, raw, measure), width),
    )
    for transform, row in zip(TRANSFORMS, axes, strict=False):
        _examples(row[0], result, transform)
        for layer, one in zip(result.layers, row[1 : 1 + n_layers], strict=True):
            _distances(one, result, (layer, transform, measure), raw)
        if classified:
            _probabilities(row[-1], result, transform)
    for i, (layer, shape) in enumerate(zip(result.layers, result.shapes, strict=True), 1):
        extent = f" · {'×'.join(map(str, shape))}"
        room = _PANEL[0] - 0.6 - width_of(extent, _TITLE)
        axes[0][i].set_title(f"{shortened(layer, room, _TITLE)}{extent}")
        lengths = result.lengths[MOVE_MEASURES.index(measure), i - 1]
        column = [row[i] for row in axes[: len(TRANSFORMS)]]
        hold_all(column, y=(0.0, _LEAST_TOP * (lengths.max() if raw else 1.0)))
    if classified:
        axes[0][-1].set_title("true class" if result.class_given else "own class")
    place = figure.add_subplot(replace_last_row(axes, heights))
    without_axes(place)
    place.legend(handles=handles, loc="center", ncols=a_row, frameon=False)
    return figure


def _note(result: Invariance, raw: bool, measure: MoveMeasure) -> str:
    compared = {
        "whole": "the layer's activations, each at its place,",
        "peak": "the largest activations of the layer's maps, wherever they are,",
    }
    text = (
        f"Distances are Euclidean, between {compared[measure]} of the original image and of the changed one"
        + (". " if raw else ", divided by the length of the original's. ")
        + "Examples: what the network sees, each row framed in its line's colour; "
        + {
            "mean": "the border shows the image's mean colour.",
            "edge": "the outermost pixels are drawn out.",
        }[result.config.border]
    )
    if any(_has_both(result, transform) for transform in TRANSFORMS):
        text += (
            " Rings: turns that only move pixels, and the image itself. Other turns and magnifications also blur it a "
            "little, so rings need not lie on the line."
        )
    if measure == "whole" and any(len(shape) == 3 and max(shape[1:]) > 1 for shape in result.shapes):
        text += (
            " The maps of a layer with rows and columns move with the image, which its distance counts too."
        )
    if len(result.images) > 1:
        text += " Another image: the mean distance from an image to the next one, which shows something else."
    if len(result.classes) and not result.class_given:
        text += (
            " Own class: the network's most probable class of the original, which need not be the true one."
        )
    if result.output is not None:
        text += f" The class is read from the output {result.output!r}."
    n_left = len(result.images) - _MOST_SHOWN
    return text + (f" Examples of the first {_MOST_SHOWN} images." if n_left > 0 else "")


def _distances(axes: Axes, result: Invariance, what: tuple[str, Transform, MoveMeasure], raw: bool) -> None:
    layer, transform, measure = what
    other = result.other(layer, measure, raw)
    if not np.isnan(other):
        axes.axhline(other, **_OTHER)
    _curves(axes, result, transform, result.distances(layer, transform, measure, raw))
    axes.set_ylabel("distance" if raw else "relative distance")


def _probabilities(axes: Axes, result: Invariance, transform: Transform) -> None:
    _curves(axes, result, transform, result.probabilities[:, result.of(transform)])
    hold_all([axes], y=(0.0, 1.0))
    axes.set_ylabel("probability")


def _curves(axes: Axes, result: Invariance, transform: Transform, values: NDArray[np.float64]) -> None:
    """Draw a line over the amounts for each image, or a dot where there is only one amount.

    Where some amounts blur the image, those that do not are rings, and the line does not run through the turns among
    them: they would stick out of it.
    """
    amounts, exact = result.amounts[result.of(transform)], result.exact(transform)
    rings = exact if _has_both(result, transform) else np.zeros_like(exact)
    curve = ~rings | [is_identity(transform, amount) for amount in amounts]
    for i, own in enumerate(values):
        axes.plot(amounts[curve], own[curve], marker="o" if curve.sum() == 1 else "", **_line(i))
        if rings.any():
            ring = {"markerfacecolor": "white", "markersize": 4.5, "color": _line(i)["color"]}
            axes.plot(amounts[rings], own[rings], "o", **ring)
    axes.set_xlabel(_AXES[transform])
    if len(amounts) > 1:
        hold_all([axes], x=(amounts[0], amounts[-1]))
    if transform == "rotation" and amounts[-1] - amounts[0] > 180:
        axes.set_xticks(np.arange(np.ceil(amounts[0] / 90) * 90, amounts[-1] + 20, 90))


def _has_both(result: Invariance, transform: Transform) -> bool:
    """Return whether a transformation has amounts that only move pixels, and amounts that blur."""
    exact = result.exact(transform)
    return bool(exact.any() and not exact.all())


def _line(i: int) -> dict[str, Any]:
    return {"color": COLOURS[i % len(COLOURS)], "linestyle": _DASHES[i // len(COLOURS) % len(_DASHES)]}


def _examples(axes: Axes, result: Invariance, transform: Transform) -> None:
    """Show the first images (rows) under some of the amounts (columns)."""
    amounts = result.amounts[result.of(transform)]
    pictures = result.pictures[:_MOST_SHOWN]
    count = max(_FEWEST_EXAMPLES, round(_EXAMPLES_A_ROW * len(pictures)))
    # evenly spaced amounts, the first and the last among them; each once where there are few
    places = np.unique(np.linspace(0, len(amounts) - 1, count).round().astype(int))
    height, width = pictures.shape[1] / pictures.shape[2], 1.0
    for i, picture in enumerate(pictures):
        top = i * (height + _GAP)
        for j, amount in enumerate(amounts[places]):
            left = j * (width + _GAP)
            shown = _changed(picture, transform, float(amount), result)
            # left, right, bottom, top in widths of a picture, the rows growing downwards
            axes.imshow(shown, extent=(left, left + width, top + height, top), interpolation="antialiased")
        right = len(places) * (width + _GAP) - _GAP
        frame = Rectangle((0, top), right, height, fill=False, linewidth=2, edgecolor=_line(i)["color"])
        axes.add_patch(frame)
    for j, amount in enumerate(amounts[places]):
        text = amount_text(transform, amount)
        axes.text(j * (width + _GAP) + width / 2, -_GAP, text, ha="center", va="bottom", fontsize=7)
    hold_all(
        [axes], (-_GAP, len(places) * (width + _GAP)), (len(pictures) * (height + _GAP), -_GAP), room=0.0
    )
    axes.set_aspect("equal")
    without_axes(axes)


def _changed(
    picture: UInt8[np.ndarray, "h w 3"], transform: Transform, amount: float, result: Invariance
) -> UInt8[np.ndarray, "h w 3"]:
    # (h, w, 3) -> (3, h, w), and back at the end
    image = torch.from_numpy(picture).permute(2, 0, 1).double()
    found = transformed(image, transform, amount, result.config.border).round().clamp(0, 255)
    changed: NDArray[np.uint8] = found.permute(1, 2, 0).numpy().astype(np.uint8)
    return changed


def _legend_rows(result: Invariance, width: float) -> tuple[list[Line2D], int]:
    """Return the lines of the legend, and how many fit side by side into a width in inches."""
    names = [
        f"{name} ({result.class_name(i)})" if len(result.classes) else name
        for i, name in enumerate(result.images)
    ]
    names = [shortened(name, width - _HANDLE - 0.5, _LABEL) for name in names]
    handles = [Line2D([], [], label=name, **_line(i)) for i, name in enumerate(names)]
    if len(names) > 1:
        handles.append(Line2D([], [], label="another image", **_OTHER))
    longest = max(len(str(handle.get_label())) for handle in handles)
    fitting = int(width / (_INCHES_PER_LETTER * longest + _HANDLE))
    return handles, max(1, min(fitting, len(handles)))
