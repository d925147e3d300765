"""The figure of a layer: for each feature map its projections beside the patches that caused them.

*Source*: Zeiler & Fergus (2013), Fig. 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageOps

from backlight.errors import BadInputError
from backlight.render.page import (
    EMPTY,
    LINE,
    NOTE_SIZE,
    WHITE,
    Frame,
    beside,
    centre,
    grid,
    grid_columns,
    headed,
    page,
)
from backlight.render.scaling import DEFAULT_SCALING, Scaling, parse_scaling
from backlight.render.text import MUTED, WARNING, draw_text, line_height, text_width, wrap
from backlight.render.tiles import Tile, display_size, draw_patch, draw_projection

CELL_GAP, GRID_GAP = 2, 10
NEVER_ACTIVE = "never active"


@dataclass(frozen=True)
class MapPanel:
    """One feature map of a figure.

    Attributes:
        label: Its heading, such as "channel 17".
        tiles: Its hits, strongest first; none for a dead map.
        caption: A few words beside the heading.
        top: How many hits were asked for; places without a hit are drawn empty.
        evidence: What is known of how far the projections can be trusted, below the tiles; empty for nothing.
        is_weak: Whether the evidence is weak, and stands out.
        others: The same hits projected by other rules, for each rule set as many tiles as hits.
        names: Where the hits are from, below the evidence; empty for nothing.
    """

    label: str
    tiles: Sequence[Tile]
    caption: str = ""
    top: int = 9
    evidence: str = ""
    is_weak: bool = False
    others: Sequence[Sequence[Tile]] = ()
    names: str = ""

    @property
    def note(self) -> str:
        """The caption, and how many hits are missing."""
        missing = f"{len(self.tiles)} of {self.top} hits" if 0 < len(self.tiles) < self.top else ""
        return " · ".join(part for part in (self.caption, missing) if part)


def layer_figure(
    panels: Sequence[MapPanel],
    title: str,
    subtitle: str = "",
    columns: int | None = None,
    tile_size: int | None = None,
    scaling: Scaling | str = DEFAULT_SCALING,
    terms: str = "",
    rules: Sequence[str] = (),
) -> Image.Image:
    """Return the paper's figure: for every feature map a grid of projections beside the grid of patches.

    Args:
        panels: The feature maps, in reading order; all of one layer.
        title: Names the model and the layer.
        subtitle: What the images were, for example.
        columns: Maps side by side; None chooses, at most 2400 pixels wide.
        tile_size: Length of a tile's longer side; None chooses by the receptive field.
        scaling: How values become colours; each projection is scaled by itself.
        terms: What the words in captions mean, for the legend.
        rules: Names of the rule sets, where panels have `others`: the panel's own first. They stand above the grids.

    Raises:
        BadInputError: No panel, less than one column, a tile size below 1, an unknown scaling.

    Example:
        >>> import numpy as np
        >>> from backlight.geometry import Box
        >>> tile = Tile(np.zeros((7, 7, 3), np.uint8), np.zeros((7, 7, 3)), Box(0, 0, 7, 7), (9, 9))
        >>> layer_figure([MapPanel("channel 0", [tile] * 9)], "features.0").mode
        'RGB'
    """
    scaling = parse_scaling(scaling)
    tiles = [tile for panel in panels for tile in panel.tiles]
    size = choose_size(tiles, tile_size)
    n_cells = max((max(p.top, len(p.tiles)) for p in panels), default=1)
    blocks = with_evidence([_panel(panel, n_cells, size, scaling, rules) for panel in panels], panels)
    order = f" First by {', then by '.join(rules)}." if rules else ""
    legend = (
        "Left: the strongest hits of the map, one an image, strongest first in reading order, each projected "
        f"back to the pixels and scaled {scaling.caption}.{order} Right: the image patches that caused them, "
        f"in the same order{_field(tiles)}. {notes(panels)}"
    )
    return page(blocks, Frame(title, subtitle, f"{legend} {terms}".strip(), columns))


def choose_size(tiles: Sequence[Tile], size: int | None) -> int:
    """Return the size of a tile: the one asked for, or one that suits the receptive fields."""
    if size is not None and size < 1:
        raise BadInputError(f"a tile must be at least 1 pixel large, got {size}")
    return size or max((display_size(t.window.height, t.window.width) for t in tiles), default=64)


def notes(panels: Sequence[MapPanel]) -> str:
    """Return the words of the legend for hatching and blank cells, where a figure has any."""
    found = [marks([tile for panel in panels for tile in panel.tiles])]
    if any(0 < len(panel.tiles) < panel.top for panel in panels):
        found.append("Blank: no further hit.")
    return " ".join(filter(None, found))


def marks(tiles: Sequence[Tile]) -> str:
    """Return the words of the legend for hatching and crosses; none where no tile has any."""
    cross = "Cross: the unit." if any(tile.unit is not None for tile in tiles) else ""
    if all(tile.is_whole for tile in tiles):
        return cross
    cut = any(tile.window != tile.box for tile in tiles)
    hatched = "Hatched: outside of the image" + (" or of the receptive field." if cut else ".")
    return f"{hatched} {cross}".strip()


def cell_grid(pictures: Sequence[Image.Image], n_cells: int, size: int) -> Image.Image:
    """Return pictures in a square grid of n cells, size pixels each; cells without a picture are blank.

    A line around each cell shows where it ends: patches are often as white as the page.
    """
    columns = grid_columns(n_cells)
    empty = Image.new("RGB", (size, size), EMPTY)
    cells = [centre(picture, size, size) for picture in pictures]
    # -(-a // b) rounds up: the last row is filled
    cells += [empty] * (columns * -(-n_cells // columns) - len(cells))
    return ImageOps.expand(grid(cells, columns, CELL_GAP, LINE), 1, LINE)


def never_active(height: int, width: int) -> Image.Image:
    """Return what stands in the place of a dead map's tiles."""
    result = Image.new("RGB", (width, height), EMPTY)
    left, top = (width - text_width(NEVER_ACTIVE, NOTE_SIZE)) // 2, (height - line_height(NOTE_SIZE)) // 2
    draw_text(result, top, left, NEVER_ACTIVE, NOTE_SIZE, MUTED)
    return result


def with_evidence(blocks: Sequence[Image.Image], panels: Sequence[MapPanel]) -> list[Image.Image]:
    """Return the blocks with the evidence and the names of their panels below, all of one size."""
    lines = [
        [(line, WARNING if p.is_weak else MUTED) for line in wrap(p.evidence, NOTE_SIZE, b.width)]
        + [(line, MUTED) for line in wrap(p.names, NOTE_SIZE, b.width)]
        for b, p in zip(blocks, panels, strict=True)
    ]
    # room for the longest under every block: a page wants blocks of one size
    below = max(map(len, lines), default=0) * line_height(NOTE_SIZE)
    found = []
    for block, own in zip(blocks, lines, strict=True):
        result = Image.new("RGB", (block.width, block.height + below), WHITE)
        result.paste(block, (0, 0))
        for i, (line, colour) in enumerate(own):
            top = block.height + i * line_height(NOTE_SIZE)
            draw_text(result, top, 0, line, NOTE_SIZE, colour)
        found.append(result)
    return found


def _panel(
    panel: MapPanel, n_cells: int, size: int, scaling: Scaling, rules: Sequence[str] = ()
) -> Image.Image:
    drawn = [[draw_projection(t, size, scaling) for t in own] for own in (panel.tiles, *panel.others)]
    drawn.append([draw_patch(t, size) for t in panel.tiles])
    grids = [cell_grid(own, n_cells, size) for own in drawn]
    if rules:
        grids = [headed(own, "", name) for own, name in zip(grids, (*rules, "image"), strict=True)]
    body = beside(grids, GRID_GAP)
    if not panel.tiles:
        body = never_active(body.height, body.width)
    return headed(body, panel.label, panel.note)


def _field(tiles: Sequence[Tile]) -> str:
    """Return the size of the tiles in words, where they are all alike."""
    sizes = {(t.window.height, t.window.width) for t in tiles}
    if len(sizes) != 1:
        return ""
    height, width = sizes.pop()
    return f"; a tile is {height} x {width} pixels"
