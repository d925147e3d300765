"""The figure of an occlusion study, in the layout of the paper's Fig. 7."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, get_args

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from numpy.typing import NDArray
from PIL import Image, ImageOps

from backlight.geometry import Box
from backlight.render import draw_patch, draw_projection, zoom
from backlight.render.plots import (
    COLOURS,
    NOTE_POINTS,
    TITLE_POINTS,
    Plot,
    line_height,
    new_plot,
    shortened_end,
    width_of,
    without_axes,
)
from backlight.studies.covering import Fill, along_both, filled
from backlight.studies.occlusion.covers import in_words
from backlight.studies.occlusion.heat import SIDE, Heat, beside, draw_heat, edges_of, in_pixels
from backlight.studies.occlusion.result import Occlusion
from backlight.studies.plots import outline
from backlight.studies.shown import tile_of

_N_LABELS = 6
_OTHER = "#c4c4ca"
_TILE, _GAP = 200, 8
_NARROWEST = 0.5
_LEFT, _ABOVE, _BELOW = 0.7, 1.0, 0.82
_BETWEEN, _BAR, _KEY = 0.25, 1.05, 0.35
"""Inches: the least width of the pictures; the margins; the space right of a picture, a colour bar and a key."""
_TITLE, _LABEL, _NAME = 12.0, 9.0, 1.9
"""Points of a panel's title and of the names in a key, and the largest width of a class name in inches."""


class _Panel(NamedTuple):
    """A panel: its width in inches, the space to its right, its title, and the function that draws it."""

    width: float
    right: float
    title: str
    draw: Callable[[Axes, Occlusion], None]

    @property
    def step(self) -> float:
        """Inches to the next panel, so that no title runs into the next one."""
        return max(self.width + self.right, width_of(self.title, _TITLE) + _BETWEEN)


def draw(result: Occlusion, by_pixel: bool = False) -> Plot:
    """Return the image, the feature map's sum, its projections, the class's probability and the labels, side by side.

    A unit that was asked for has its own heat map; the last two are left out where the network does not classify.

    Args:
        result: What the study found.
        by_pixel: Draw the heat maps by pixel, each the mean over the squares that cover it, not by square.
    """
    panels = _panels(result, by_pixel)
    width = _LEFT + sum(panel.step for panel in panels)
    figure, (axes,) = new_plot(1, len(panels), (width, SIDE), _title(result), _note(result, by_pixel))
    figure.set_layout_engine("none")  # so that all pictures keep one height
    above = _ABOVE + line_height(TITLE_POINTS) * figure.get_suptitle().count("\n")
    below = _BELOW + line_height(NOTE_POINTS) * figure.get_supxlabel().count("\n")
    height = above + SIDE + below
    figure.set_size_inches(width, height)
    left = _LEFT
    for one, panel in zip(axes, panels, strict=True):
        one.set_position((left / width, below / height, panel.width / width, SIDE / height))
        one.set_anchor("W")  # where a picture is narrower than its panel
        panel.draw(one, result)
        one.set_title(panel.title, loc="left", fontsize=_TITLE)
        left += panel.step
    return figure


def _panels(result: Occlusion, by_pixel: bool) -> list[_Panel]:
    rows, cols = result.image.shape[:2]
    width = max(SIDE * cols / rows, _NARROWEST)
    unit, n_others = result.watched.unit, len(result.other_names)
    left = f"map {unit.channel},\n    summed" if unit.row is not None else f"unit {unit.channel}"
    panels = [
        _Panel(width, _BETWEEN, "a  the image, covered\n    where b is lowest", _image),
        _Panel(width, _BAR, f"b  what is left of {left}", partial(_map, by_pixel)),
    ]
    if result.config.row is not None:
        panels.append(
            _Panel(
                width,
                _BAR,
                f"b′  its unit at row {unit.row},\n     column {unit.col}",
                partial(_unit, by_pixel),
            )
        )
    others = ", in other images" if n_others else ""
    title = f"c  its projection here{others},\n    above what is seen"
    panels.append(_Panel((1 + n_others) * SIDE / 2, _BETWEEN, title, _projections))
    if result.watched.class_index is not None:
        kind = "class given" if result.config.class_index is not None else "the network's own answer"
        name = shortened_end(result.class_name(result.watched.class_index), _NAME, _TITLE)
        panels.append(
            _Panel(width, _BAR, f"d  probability of {name}\n    ({kind})", partial(_probability, by_pixel))
        )
        longest = max(width_of(name, _LABEL) for _, name, _ in legend_entries(result))
        title = "e  most probable class,\n    share of the positions"
        panels.append(_Panel(width, _KEY + longest, title, _labels))
    return panels


def _title(result: Occlusion) -> str:
    unit, (height, width), steps = result.watched.unit, result.config.window, along_both(result.config.stride)
    step = "×".join(map(str, steps[: len(set(steps))]))
    what = "square" if height == width else "window"
    slid = f"a {what} of {height}×{width} pixels slid in steps of {step}"
    return f"{result.model} · {unit.layer}, {_kind(result)} {unit.channel}: {slid}"


def _kind(result: Occlusion) -> str:
    return "unit" if result.watched.unit.row is None else "map"


def _note(result: Occlusion, by_pixel: bool) -> str:
    fill, own = in_words(result.config.fill, _by_image(result)), result.watched
    kind = "strongest" if result.config.row is None else "chosen"
    unit = (
        f"map's {kind} unit (row {own.unit.row}, column {own.unit.col})"
        if own.unit.row is not None
        else "unit"
    )
    others = f", then of {'its strongest unit' if own.unit.row is not None else 'it'} in other images"
    where = (
        "Each pixel of a heat map is the mean over the squares that cover it"
        if by_pixel
        else "Each cell of a heat map stands at the middle of the square that is covered"
    )
    return (
        f"{where} (by {fill}). White: the value of "
        "the uncovered image (the line in the colour bar). Blue: less. Red: more.\n"
        f"c: {result.rules.name} projection of the {unit} above what it sees{others if result.other_names else ''}; "
        "grey is zero."
        + ("" if own.output is None else f" d, e: by the output {own.output!r}.")
        + _agreement(result)
        + _stronger(result)
    )


def _by_image(result: Occlusion) -> bool:
    """Return whether an image was given to cover with."""
    return bool(result.cover.size) and result.config.fill in get_args(Fill)


def _agreement(result: Occlusion) -> str:
    """Return how well falls and projection agree, and over how many squares; nothing where they cannot be compared."""
    own = result.watched
    values = {"b": (result.map_sums, own.map_sum)}
    if result.config.row is not None:
        values["b′"] = result.unit_values, own.unit_value
    found = {panel: result.agreement(*of) for panel, of in values.items()}
    texts = [f"{panel} {value:.2f}" for panel, value in found.items() if value is not None]
    if not texts:
        return ""
    return (
        f"\nRank correlation of the fall with how much of the projection is covered: {', '.join(texts)}, over the "
        f"{result.in_field().sum()} of {result.map_sums.size} squares that touch what the unit sees."
    )


def _stronger(result: Occlusion) -> str:
    other = result.watched.stronger_channel
    if other is None:
        return ""
    return f" Map {other} is stronger in this image, but the atlas has no projections of it."


def _image(axes: Axes, result: Occlusion) -> None:
    box = result.square(result.map_sums)
    axes.imshow(_covered(result, box))
    outline(axes, box, ("white", 2.2), ("black", 0.8))
    in_pixels(axes, result)
    axes.tick_params(labelleft=True)
    axes.set_ylabel("row, pixels")


def _covered(result: Occlusion, box: Box) -> NDArray[np.uint8]:
    """Return the picture with a box covered by the input's fill; the input is a linear function of the picture."""
    if result.cover.size:
        shown = result.image.copy()
        shown[box.slices()] = result.cover[box.slices()]
        return shown
    picture = torch.from_numpy(result.image.astype(np.float32)).permute(2, 0, 1)
    fill = filled(picture, result.config.fill, np.random.default_rng(result.config.seed))  # type: ignore[arg-type]
    picture[:, *box.slices()] = fill[:, *box.slices()]
    return picture.permute(1, 2, 0).clamp(0, 255).round().numpy().astype(np.uint8)


def _map(by_pixel: bool, axes: Axes, result: Occlusion) -> None:
    label = "activation" if result.watched.unit.row is None else "sum of positive activations"
    draw_heat(axes, result, Heat(result.map_sums, result.watched.map_sum, label, by_pixel))


def _unit(by_pixel: bool, axes: Axes, result: Occlusion) -> None:
    draw_heat(
        axes,
        result,
        Heat(result.unit_values, result.watched.unit_value, "activation of the unit", by_pixel),
    )


def _projections(axes: Axes, result: Occlusion) -> None:
    height, width = result.image.shape[:2]
    own = tile_of(result.image, result.projection, result.watched.box)
    tiles = zoom([own, *result.others.tiles((height, width))], moved=True)
    side = _TILE + _GAP
    page = Image.new("RGB", (side * len(tiles) - _GAP, 2 * side - _GAP), "white")
    for i, tile in enumerate(tiles):
        for j, picture in enumerate((draw_projection(tile, _TILE), draw_patch(tile, _TILE))):
            framed = ImageOps.expand(picture, 3, "black") if i == 0 else picture
            page.paste(framed.resize(picture.size), (i * side, j * side))
        if not tile.projection.any():
            middle = i * side + _TILE / 2, _TILE / 2
            axes.annotate(
                "not active",
                middle,
                ha="center",
                va="center",
                fontsize=8,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
            )
    axes.imshow(np.asarray(page))
    without_axes(axes)


def _probability(by_pixel: bool, axes: Axes, result: Occlusion) -> None:
    uncovered = result.watched.probability
    assert uncovered is not None
    draw_heat(axes, result, Heat(result.probabilities, uncovered, "probability", by_pixel))


def _labels(axes: Axes, result: Occlusion) -> None:
    legend = legend_entries(result)
    # (r, s) the row of the legend that each position belongs to; what has no colour of its own is in the last
    codes = np.full(result.labels.shape, len(legend) - 1)
    for code, (index, _, _) in enumerate(legend):
        if index is not None:
            codes[result.labels == index] = code
    colours = [colour for _, _, colour in legend]
    mesh = axes.pcolormesh(
        *edges_of(result), codes, cmap=ListedColormap(colours), vmin=-0.5, vmax=len(colours) - 0.5
    )
    bar = axes.figure.colorbar(mesh, cax=beside(axes, result), ticks=range(len(colours)))
    bar.ax.set_yticklabels([name for _, name, _ in legend])
    bar.ax.invert_yaxis()
    bar.ax.tick_params(length=0, labelsize=9)
    in_pixels(axes, result)


def legend_entries(result: Occlusion) -> list[tuple[int | None, str, str]]:
    """Return index, name and colour of the labels that have their own colour, most frequent first, then of the rest."""
    counts, n = Counter(result.labels.ravel().tolist()).most_common(), result.labels.size
    found: list[tuple[int | None, str, str]] = [
        (index, f"{shortened_end(result.class_name(index), _NAME, _LABEL)} {count / n:.0%}", COLOURS[i])
        for i, (index, count) in enumerate(counts[:_N_LABELS])
    ]
    if len(counts) > _N_LABELS:
        rest = sum(count for _, count in counts[_N_LABELS:])
        found.append((None, f"{len(counts) - _N_LABELS} other {rest / n:.0%}", _OTHER))
    return found
