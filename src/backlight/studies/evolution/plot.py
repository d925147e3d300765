"""The figures of an evolution: the projections of maps step by step, and how much layers still change."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from backlight.errors import BadInputError
from backlight.network.layers import Layers, layer_names
from backlight.render.page import evenly_spread
from backlight.render.plots import (
    TITLE_POINTS,
    Plot,
    hold_all,
    new_plot,
    shortened,
    shortened_apart,
    shortened_end,
    width_of,
)
from backlight.render.tiles import draw_values
from backlight.studies.evolution.labels import told_apart_steps
from backlight.studies.evolution.result import SETTLED_SHARE, EvolutionResult

_MOST_LAYERS, _MOST_MAPS, _MOST_STEPS, _MOST_COLUMNS = 6, 16, 10, 3
_AXIS, _MOST_NAME, _TICK = 3.4, 1.0, 7.5
"""Inches of an axis of steps and of the longest label at it, and points of such labels."""
_TILE, _GAP, _BAR = 72, 10, 4
"""Pixels of a cell of the grid, between two, and of the bar that marks a jump there."""
_INCH = 0.5
"""Width of a cell."""
_JUMP, _EMPTY, _WHITE = (213, 94, 0), 236, 255


def draw(
    result: EvolutionResult,
    kind: str = "grid",
    layers: Layers | None = None,
    steps: Sequence[int | str] | None = None,
) -> Plot:
    """Return a figure of an evolution.

    Args:
        result: The evolution.
        kind: `grid` for the projections, a row for each map and a column for each step; `curves` for how much each
            layer changes from step to step.
        layers: The layers to draw; None takes up to 6 of them, from the first to the last.
        steps: Labels of the steps of a grid; None takes up to 10 of them, from the first to the last.

    Raises:
        BadInputError: Another kind, or no such step.
        UnknownLayerError: A layer was not followed.
    """
    known = [own.name for own in result.layers]
    names = evenly_spread(known, _MOST_LAYERS) if layers is None else layer_names(layers)
    for name in names:
        result.layer(name)
    if kind == "curves":
        return _curves(result, names)
    if kind != "grid":
        raise BadInputError(f"a figure of an evolution is a grid or curves, got {kind!r}")
    wanted = evenly_spread(list(result.steps), _MOST_STEPS) if steps is None else list(map(str, steps))
    return _grid(result, names, [result.step_index(own) for own in wanted])


# --- the grid -------------------------------------------------------------------------------------------------


def _grid(result: EvolutionResult, names: Sequence[str], rows: Sequence[int]) -> Plot:
    columns = min(len(names), _MOST_COLUMNS if len(rows) <= 5 else 2)
    n_rows = -(-len(names) // columns)
    most_maps = max(len(_shown_maps(result, name)) for name in names)
    # a cell of the grid is as high as it is wide; beside it the channels, above it the title and the steps
    width, height = columns * (max(len(rows) * _INCH, 2.0) + 0.7), n_rows * (most_maps * _INCH + 0.5) + 1.1
    note = _grid_note(result, names, rows)
    figure, axes = new_plot(n_rows, columns, (max(width, 4.0), height), _title(result), note)
    for place, one in enumerate(own for line in axes for own in line):
        if place < len(names):
            _block(one, result, names[place], rows)
        else:
            one.remove()
    return figure


def _block(axes: Axes, result: EvolutionResult, name: str, rows: Sequence[int]) -> None:
    """Draw the projections of a layer: a row for each map, a column for each step, a bar where the image changed."""
    channels = _shown_maps(result, name)
    ids = result.image_ids[:, [result.column(name, channel) for channel in channels]]
    pitch = _TILE + _GAP
    sheet = np.full((len(channels) * pitch - _GAP, len(rows) * pitch - _GAP, 3), _WHITE, np.uint8)
    for i, channel in enumerate(channels):
        for j, row in enumerate(rows):
            cell = _cell(result, row, name, channel, is_empty=bool(ids[row, i] < 0))
            sheet[i * pitch : i * pitch + _TILE, j * pitch : j * pitch + _TILE] = cell
            if j and ids[row, i] != ids[rows[j - 1], i]:
                left = j * pitch - (_GAP + _BAR) // 2
                sheet[i * pitch : i * pitch + _TILE, left : left + _BAR] = _JUMP
    axes.imshow(sheet, aspect="equal", interpolation="none")
    middle = (_TILE - 1) / 2
    labels = shortened_apart(told_apart_steps([result.steps[row] for row in rows]), _INCH, 7.0)
    axes.set_xticks([j * pitch + middle for j in range(len(rows))], labels, fontsize=7)
    axes.set_yticks([i * pitch + middle for i in range(len(channels))], list(map(str, channels)), fontsize=7)
    axes.tick_params(length=0, labeltop=True, labelbottom=False, pad=2)
    axes.grid(False)
    for side_of in axes.spines.values():
        side_of.set_visible(False)
    axes.set_title(f"layer {shortened(name, max(len(rows) * _INCH, 2.0) - 0.5, 10.0)}", pad=14, loc="left")


def _shown_maps(result: EvolutionResult, name: str) -> list[int]:
    return evenly_spread(result.layer(name).channels, _MOST_MAPS)


def _cell(result: EvolutionResult, row: int, name: str, channel: int, is_empty: bool) -> NDArray[np.uint8]:
    """Return a projection in the middle of a cell of the grid; a plain one where no image activates the map."""
    cell = np.full((_TILE, _TILE, 3), _EMPTY, np.uint8)
    if not is_empty:
        values = result.projection(result.steps[row], name, channel).astype(np.float64)
        picture = np.asarray(draw_values(values, _TILE))
        height, width = picture.shape[:2]
        top, left = (_TILE - height) // 2, (_TILE - width) // 2
        cell[top : top + height, left : left + width] = picture
    return cell


def _grid_note(result: EvolutionResult, names: Sequence[str], rows: Sequence[int]) -> str:
    parts = [
        "A row for each feature map (its channel), a column for each step: the strongest activation over all images, "
        f"projected back by {result.config.rules.name} and scaled by itself; grey is zero. Orange bar: the strongest "
        "image changed there."
    ]
    if (result.image_ids < 0).any():
        parts.append("Blank: active in no image.")
    if any(len(_shown_maps(result, name)) < len(result.layer(name).channels) for name in names):
        parts.append(f"At most {_MOST_MAPS} of a layer's maps are shown.")
    parts += _left_out(result, names, rows)
    return " ".join(parts)


# --- the curves -----------------------------------------------------------------------------------------------


def _curves(result: EvolutionResult, names: Sequence[str]) -> Plot:
    if len(result.steps) < 2:
        raise BadInputError("curves show what changes from step to step; there is only one step")
    figure, axes = new_plot(2, 2, (11.0, 6.6), _title(result), _curves_note(result, names))
    panels: list[tuple[Axes, str, Callable[[str], NDArray[np.float64]]]] = [
        (axes[0][0], "projections: 1 - correlation", lambda name: result.changes(name).projections),
        (axes[0][1], "filters: relative change", lambda name: result.changes(name).filters),
        (axes[1][0], "maps with another strongest image", lambda name: result.changes(name).images),
        (
            axes[1][1],
            "projections: change still to come",
            lambda name: _to_come(result.changes(name).projections),
        ),
    ]
    shades = matplotlib.colormaps["viridis"](np.linspace(0, 0.9, len(names)))
    places = np.arange(len(result.steps))
    for one, title, curve in panels:
        for name, colour in zip(names, shades, strict=True):
            values = curve(name)
            # a change is drawn at the later of its two steps; what is to come at the step after which it comes
            one.plot(
                places[len(places) - len(values) :],
                values,
                color=colour,
                marker="o",
                markersize=3,
                label=name,
            )
        one.set_title(title, loc="left")
        _step_axis(one, result)
        hold_all([one], y=(0.0, 0.01))
    for name, colour in zip(names, shades, strict=True):
        same = result.changes(name).same_units
        axes[0][0].plot(places[1:], same, color=colour, linewidth=1, linestyle=":")
    axes[1][1].axhline(SETTLED_SHARE, color="#18181b", linewidth=0.8, linestyle="--")
    hold_all([axes[1][1]], y=(0.0, 1.0))
    axes[1][0].yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes[1][1].yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    handles, _ = axes[0][0].get_legend_handles_labels()
    figure.legend(
        handles, shortened_apart(names, 2.0, 9.0), loc="outside right upper", frameon=False, title="layer"
    )
    return figure


def _to_come(changes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (n,) what share of all changes comes after each of n steps; NaN where nothing changes."""
    sums = np.append(np.cumsum(np.nan_to_num(changes)[::-1])[::-1], 0.0)
    return sums / sums[0] if sums[0] else np.full(len(sums), np.nan)


def _step_axis(axes: Axes, result: EvolutionResult) -> None:
    labels = shortened_apart(told_apart_steps(result.steps), _MOST_NAME, _TICK)
    widest = max(width_of(label, _TICK) for label in labels)
    places = list(range(len(labels)))
    # as many as stand beside each other, with room between them
    shown = evenly_spread(places, max(2, int(_AXIS / (widest + 0.1))))
    axes.set_xticks(shown, [labels[i] for i in shown], fontsize=_TICK)
    axes.set_xlim(-0.3, len(places) - 0.7)
    axes.set_xlabel("step")


def _curves_note(result: EvolutionResult, names: Sequence[str]) -> str:
    parts = [
        "Change of each layer from a step to the next, drawn at the later one; means over its sampled maps. Dotted: "
        "only maps whose strongest unit is the same one. Filters: length of the difference, relative to the longer. "
        f"Strongest images: all maps of the layer. Below the dashed line, {SETTLED_SHARE:.0%} of the total change or "
        "less is still to come: the layer is settled."
    ]
    return " ".join(parts + _left_out(result, names, range(len(result.steps))))


# --- both -----------------------------------------------------------------------------------------------------


def _title(result: EvolutionResult) -> str:
    network = shortened_end(result.network, 2.5, TITLE_POINTS)
    counts = ((len(result.steps), "step"), (result.n_images, "image"))
    steps, images = (f"{n} {what}{'s' * (n != 1)}" for n, what in counts)
    return f"Evolution of {network} over {steps}, {images}"


def _left_out(result: EvolutionResult, names: Sequence[str], rows: Sequence[int]) -> list[str]:
    """Return in words how many layers and steps are not shown."""
    found = []
    for what, shown, there in (
        ("layers", len(names), len(result.layers)),
        ("steps", len(rows), len(result.steps)),
    ):
        if shown < there:
            found.append(f"{shown} of {there} {what} are shown.")
    return found
