"""The figure of a correspondence study: Delta of every part beside its controls, over the images with their boxes."""

from __future__ import annotations

from math import ceil

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from backlight.geometry import Box
from backlight.render.plots import Plot, colours, hold_all, new_plot, shortened, shortened_end, without_axes
from backlight.studies.correspondence.masking import CONTROL_MASKS, ENTRIES, ControlMask, Entries
from backlight.studies.correspondence.result import Correspondence
from backlight.studies.covering import FILLS_IN_WORDS
from backlight.studies.plots import note_lines, outline, replace_last_row

_MOST_IMAGES, _A_ROW, _GAP = 16, 8, 12
_COLUMN, _PART = 3.9, 1.4
"""Inches: the width of a layer, and the largest width of the name of a part."""
_OFFSETS: dict[ControlMask, float] = {"random": 0.26, "shifted": 0.48}
_GREYS: dict[ControlMask, str] = {"random": "#52525b", "shifted": "#a1a1aa"}
_MARKERS: dict[ControlMask, str] = {"random": "D", "shifted": "s"}
_MEASURED: dict[Entries, str] = {
    "all": "signs that differ, % of all entries",
    "changed": "signs that differ, % of changed entries",
}


def draw(result: Correspondence) -> Plot:
    """Return Delta of every part by layer (columns) and by entries (rows: all, changed), and below the images."""
    n_layers, shown = len(result.layers), min(len(result.images), _MOST_IMAGES)
    a_row = min(shown, _A_ROW)
    width = max(_COLUMN * n_layers + 1.2, 7.5)
    heights = [0.72 * len(result.parts) + 0.9] * 2
    # the rows of images fill the width; an image is taken to be about as high as wide
    heights.append(width / a_row * ceil(shown / a_row) + 0.2)
    figure, axes = new_plot(
        3, n_layers, (width, sum(heights) + 1.7), _title(result), _note(result, shown, width)
    )
    below = replace_last_row(axes, heights)
    for entries, row in zip(ENTRIES, axes, strict=False):
        for layer, one in zip(result.layers, row, strict=True):
            _dots(one, result, layer, entries)
            names = [shortened_end(part, _PART, 10.0) for part in result.parts]
            one.set_yticks(range(len(result.parts)), names if one is row[0] else [])
    _thumbnails(figure.add_subplot(below), result, shown, a_row)
    figure.legend(handles=_legend(), loc="outside upper right", ncols=3, frameon=False, borderaxespad=0.2)
    return figure


def _title(result: Correspondence) -> str:
    # the legend stands to the right of the first line
    return f"Correspondence\nthe same part masked: {result.network}, {len(result.images)} images"


def _note(result: Correspondence, shown: int, width: float) -> str:
    text = (
        "Small = corresponding: masking the part moves the layer's entries in the same direction in all images. "
        "Changed entries: those that the mask moves in at least one of the two images. Faint dots: pairs of images "
        "(of the part), draws (of the controls). Bars: standard deviation over pairs. Random: boxes of the part's "
        "sizes anywhere outside of the parts. Shifted: the part's boxes all moved by one shift. p: share of a "
        f"control's draws that are as small as the part, one-sided. Masked with {FILLS_IN_WORDS[result.config.fill]}."
    )
    more = f" The first {shown} images are shown." if shown < len(result.images) else ""
    return note_lines(text + more, width)


def _dots(axes: Axes, result: Correspondence, layer: str, entries: Entries) -> None:
    for i, (part, colour) in enumerate(colours(result.parts).items()):
        _row(
            axes, i, result.pair_values(layer, part, entries), result.delta(layer, part, entries), colour, "o"
        )
        for control in CONTROL_MASKS:
            draws = result.draws(layer, part, entries, control)
            found = result.control(layer, part, entries, control)
            _row(axes, i + _OFFSETS[control], draws, found, _GREYS[control], _MARKERS[control])
        _write_p(axes, result, layer, part, entries, i)
    hold_all([axes], y=(len(result.parts) - 0.25, -0.4))  # the first part is at the top
    axes.grid(False, axis="y")
    axes.set_xlabel(_MEASURED[entries])
    if entries == ENTRIES[0]:
        axes.set_title(shortened(layer, _COLUMN - 0.7, 12.0), pad=14)


def _row(
    axes: Axes,
    y: int | float,
    single: np.ndarray,
    summary: tuple[float, float],
    colour: str,
    marker: str,
) -> None:
    """Draw single values faintly, and their mean with its spread over them."""
    mean, spread = summary
    axes.plot(100 * single, np.full(len(single), y), "o", color=colour, alpha=0.25, markersize=3.5, mew=0)
    axes.errorbar(100 * mean, y, xerr=100 * spread, fmt=marker, color=colour, markersize=6, lw=1.4)


def _legend() -> list[Line2D]:
    """Return what the markers mean; a part has the colour of its boxes."""
    part = Line2D([], [], color="#18181b", marker="o", ls="", mfc="none", label="part, in its boxes' colour")
    return [part] + [
        Line2D([], [], color=_GREYS[name], marker=_MARKERS[name], ls="", label=name) for name in CONTROL_MASKS
    ]


def _write_p(axes: Axes, result: Correspondence, layer: str, part: str, entries: Entries, i: int) -> None:
    """Write the p-value of each control at the right, in its row."""
    for control in CONTROL_MASKS:
        p = result.p_value(layer, part, entries, control)
        if p is not None:
            place = axes.get_yaxis_transform()
            text = f"p = {p:.2g}"
            axes.text(
                1.01, i + _OFFSETS[control], text, transform=place, va="center", fontsize=7.5, color="#3f3f46"
            )


def _thumbnails(axes: Axes, result: Correspondence, shown: int, a_row: int) -> None:
    """Show what the network sees, image beside image, with the boxes of the parts."""
    height, width = result.pictures.shape[1:3]
    gap = round(_GAP * height / 224)
    rows = ceil(shown / a_row)
    # white, with a gap between pictures and none at the edges
    sheet = np.full((rows * (height + gap) - gap, a_row * (width + gap) - gap, 3), 255, np.uint8)
    part_colours = list(colours(result.parts).values())
    for i in range(shown):
        top, left = (i // a_row) * (height + gap), (i % a_row) * (width + gap)
        sheet[top : top + height, left : left + width] = result.pictures[i]
        for box, colour in zip(result.boxes[:, i].tolist(), part_colours, strict=True):
            if box[0] >= 0:  # the part is marked in this image
                placed = Box(top + box[0], left + box[1], top + box[2], left + box[3])
                outline(axes, placed, ("white", 2.6), (colour, 1.5))
    axes.imshow(sheet, interpolation="nearest")
    without_axes(axes)
