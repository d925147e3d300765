"""Plots: curves and maps by matplotlib, in one style, without pyplot and its global state."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import cycle
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text
from matplotlib.textpath import text_to_path

TITLE_POINTS, NOTE_POINTS = 13.0, 8.0
"""Sizes of the title of a figure and of the note below it."""
_INCH, _SPACING, _USED, _HINTED = 72.0, 1.2, 0.97, 1.1
"""Points in an inch, the height of a line in sizes of its font, how much of a width lines of text fill, and how much
wider than its outlines a line may be drawn.
"""

_STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#686870",
    "axes.labelcolor": "#18181b",
    "axes.grid": True,
    "grid.color": "#e4e4e8",
    "axes.axisbelow": True,
    "xtick.color": "#686870",
    "ytick.color": "#686870",
    "axes.formatter.useoffset": False,
    "figure.titlesize": TITLE_POINTS,
    "lines.linewidth": 1.6,
}
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8c8c94")
"""Okabe & Ito's, which the colour-blind can tell apart."""


class Plot(Figure):
    """A matplotlib figure that a notebook shows by itself, and in which `$` in a name starts no formula."""

    def draw(self, renderer: Any) -> None:
        """Draw it; a PDF brings its own kind of renderer."""
        ticks = {
            id(label)
            for axes in self.axes
            for axis in (axes.xaxis, axes.yaxis)
            if axis.get_scale() != "linear"  # their numbers are formulas
            for label in axis.findobj(Text)
        }
        for text in self.findobj(Text):
            if id(text) not in ticks:
                text.set_parse_math(False)
        super().draw(renderer)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=110)
        return buffer.getvalue()


def new_plot(
    rows: int, columns: int, size: tuple[float, float], title: str = "", note: str = ""
) -> tuple[Plot, list[list[Axes]]]:
    """Return an empty figure and its axes, row by row.

    Args:
        rows: Rows of axes.
        columns: Columns of axes.
        size: Width and height in inches.
        title: Above the axes.
        note: Below them: what the colours mean, what was measured.

    *Convention*: lines of the title and of the note that are wider than the figure are broken, and the figure grows by
    as much as they take.
    """
    texts = [wrapped(text, size[0], points) for text, points in ((title, TITLE_POINTS), (note, NOTE_POINTS))]
    # constrained layout would take the room for new lines from the axes
    grown = sum(
        (new.count("\n") - old.count("\n")) * line_height(points)
        for old, new, points in zip((title, note), texts, (TITLE_POINTS, NOTE_POINTS), strict=True)
    )
    title, note = texts
    size = size[0], size[1] + grown
    with matplotlib.rc_context(_STYLE):
        figure = Plot(figsize=size, layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False)
        if title:
            figure.suptitle(title, x=0.01, ha="left")
        if note:
            figure.supxlabel(note, x=0.01, ha="left", fontsize=NOTE_POINTS, color="#686870")
    return figure, [list(row) for row in axes]


def width_of(text: str, points: float) -> float:
    """Return the width in inches of the widest line of a text in a font of some points, or a little more.

    At low resolution letters are set on whole pixels, which makes a line up to a tenth wider than its outlines are.
    """
    font = FontProperties(size=points)
    lines = text.split("\n")
    # the width of outlines in points, before any resolution is known
    widest = max(text_to_path.get_text_width_height_descent(one, font, False)[0] for one in lines)
    return float(widest / _INCH * _HINTED)


def wrapped(text: str, width: float, points: float) -> str:
    """Return a text with its lines broken to a width in inches, at blanks where there are any.

    Example:
        >>> wrapped("what is\\nwritten here", 0.6, 10.0).split("\\n")
        ['what is', 'written', 'here']
    """
    return "\n".join(own for line in text.split("\n") for own in _lines(line, width * _USED, points))


def _lines(line: str, width: float, points: float) -> list[str]:
    found = [""]
    for word in line.split(" "):
        longer = f"{found[-1]} {word}" if found[-1] else word
        if width_of(longer, points) <= width:
            found[-1] = longer
        else:
            # the word begins a new line, in the place of an empty one; wider than a line, it is cut
            found[-1:] = [*([found[-1]] if found[-1] else []), *_pieces(word, width, points)]
    return found


def line_height(points: float) -> float:
    """Return the height in inches of a line of text in a font of some points."""
    return points * _SPACING / _INCH


def shortened_end(name: str, width: float, points: float) -> str:
    """Return the beginning of a name that is wider than so many inches: what classes are called begins with it.

    Example:
        >>> name = shortened_end("standard poodle, a dog of many names", 1.2, 9.0)
        >>> name.startswith("standard"), name.endswith("…")
        (True, True)
    """
    if width_of(name, points) <= width:
        return name
    end = next((i for i in range(len(name), 0, -1) if width_of(f"{name[:i]}…", points) <= width), 0)
    return f"{name[:end].rstrip(' ,')}…"


def shortened(name: str, width: float, points: float) -> str:
    """Return the end of a name that is wider than so many inches: names of layers and files differ there.

    Example:
        >>> name = shortened("features.denseblock4.denselayer16.relu2", 1.2, 9.0)
        >>> name.startswith("…"), name.endswith("layer16.relu2")
        (True, True)
    """
    if width_of(name, points) <= width:
        return name
    start = next((i for i in range(1, len(name)) if width_of(f"…{name[i:]}", points) <= width), len(name))
    return f"…{name[start:]}"


def shortened_apart(names: Sequence[str], width: float, points: float) -> list[str]:
    """Return names shortened to a width in inches, at the end that tells more of them apart.

    *Convention*: their beginning is cut, as `shortened` does, unless cutting their end leaves fewer alike.

    Example:
        >>> names = ["features.9.expand3x3_activation", "features.10.expand3x3_activation"]
        >>> [name[:11] for name in shortened_apart(names, 1.4, 9.0)]
        ['features.9.', 'features.10']
    """
    found = [[cut(name, width, points) for name in names] for cut in (shortened, shortened_end)]
    return max(found, key=lambda own: len(set(own)))


def told_apart(names: Sequence[str]) -> list[str]:
    """Return the names of layers without the ending that all of them share, for the ticks of an axis.

    Example:
        >>> told_apart(["features.7.expand3x3.relu", "features.10.expand3x3.relu"])
        ['features.7', 'features.10']
    """
    parts = [name.split(".") for name in names]
    while len(parts) > 1 and all(len(own) > 1 for own in parts) and len({own[-1] for own in parts}) == 1:
        parts = [own[:-1] for own in parts]
    return [".".join(own) for own in parts]


def _pieces(word: str, width: float, points: float) -> list[str]:
    """Return a word cut into pieces that are no wider than so many inches, or one letter."""
    pieces = [""]
    for letter in word:
        if pieces[-1] and width_of(pieces[-1] + letter, points) > width:
            pieces.append("")
        pieces[-1] += letter
    return pieces


def colours(names: Sequence[str]) -> dict[str, str]:
    """Return a colour for each name.

    Example:
        >>> colours(["mean", "blur"])
        {'mean': '#0072b2', 'blur': '#d55e00'}
    """
    return dict(zip(names, cycle(COLOURS), strict=False))


def hold_all(
    axes: Sequence[Axes],
    x: tuple[float, float] | None = None,
    y: tuple[float, float] | None = None,
    room: float = 0.03,
) -> None:
    """Give some axes the same limits, which hold the ranges given and everything that is drawn in any of them.

    Args:
        axes: Axes in which everything is drawn already.
        x: What the horizontal axis shows at least, the value on the left first; None leaves the axis as it is.
        y: What the vertical axis shows at least, the value at the bottom first; None leaves the axis as it is.
        room: Left free beyond what reaches the end of a range, as a share of the axis, so that no marker is cut in
            half; 0 for pictures.

    Example:
        >>> _, ((axes,),) = new_plot(1, 1, (2.0, 2.0))
        >>> band = axes.fill_between([1, 2], [0.2, 0.3], [0.9, 1.5])
        >>> hold_all([axes], y=(0.0, 1.0))
        >>> [round(float(end), 3) for end in axes.get_ylim()]
        [0.0, 1.545]
    """
    for name, least in (("x", x), ("y", y)):
        if least is None:
            continue
        # (axes, 2) what each of them shows; (inf, -inf) where nothing is drawn
        drawn = np.array([getattr(one.dataLim, f"interval{name}") for one in axes])
        drawn = drawn[np.isfinite(drawn).all(1)]
        first, last = sorted(least)
        low, high = min([first, *drawn[:, 0]]), max([last, *drawn[:, 1]])
        free = room * (high - low)
        low -= free if len(drawn) and drawn[:, 0].min() <= first else 0
        high += free if len(drawn) and drawn[:, 1].max() >= last else 0
        for one in axes:
            getattr(one, f"set_{name}lim")((low, high) if least[0] <= least[1] else (high, low))


def without_axes(axes: Axes) -> None:
    """Take the frame, ticks and grid away, for pictures."""
    axes.set_axis_off()
    axes.grid(False)
