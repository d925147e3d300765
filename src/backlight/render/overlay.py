"""Superposition: the projections of a map's hits aligned and added, and a projection over its photograph."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageOps

from backlight.errors import BadInputError
from backlight.render.brightness import Values, scale, stretch
from backlight.render.figure import (
    GRID_GAP,
    MapPanel,
    cell_grid,
    never_active,
    notes,
    with_evidence,
)
from backlight.render.page import LINE, SUBTITLE_SIZE, WHITE, Frame, beside, headed, page
from backlight.render.scaling import DEFAULT_SCALING, Scaling, parse_scaling
from backlight.render.text import draw_text, line_height, wrap
from backlight.render.tiles import Tile, draw_projection, fit, hatch, is_small, pad, resize

_TILE_SIZE = 64
_SMALLEST_PICTURE = 224
_LUMA = (0.299, 0.587, 0.114)
_DIM = 0.5


def superpose_tiles(tiles: Sequence[Tile]) -> Float[np.ndarray, "h w c"]:
    """Return the sum of the tiles' projections, aligned on the receptive field.

    Args:
        tiles: Hits of one map, their boxes all of one size.

    Returns:
        (box height, box width, c) float64; outside of its image a tile adds nothing.

    Raises:
        BadInputError: No tile, or boxes or channels that differ.

    *Convention*: added as they are, so that a stronger hit weighs more. The deconvnet is not additive: this
    is the sum of pictures, not the projection of several units together.

    Example:
        >>> from backlight.geometry import Box
        >>> one = Tile(np.zeros((2, 3, 3), np.uint8), np.ones((2, 3, 1)), Box(-1, 0, 2, 3), (8, 8))
        >>> superpose_tiles([one, one])[..., 0].sum(1)
        array([0., 6., 6.])
    """
    _check_alike(tiles)
    total: Values = np.sum([pad(tile, tile.projection.astype(np.float64)) for tile in tiles], axis=0)
    return total


def mean_patch(tiles: Sequence[Tile]) -> tuple[UInt8[np.ndarray, "h w 3"], Float[np.ndarray, "h w"]]:
    """Return the mean of the tiles' patches, aligned on the receptive field, and each pixel's number of hits.

    Args:
        tiles: Hits of one map, their boxes all of one size.

    Returns:
        The mean (box height, box width, 3), and how many of the images reach each pixel.

    Raises:
        BadInputError: No tile, or boxes or channels that differ.

    *Convention*: a pixel's mean is over the hits whose image reaches there; without any it is black.

    Example:
        >>> from backlight.geometry import Box
        >>> one = Tile(np.full((2, 3, 3), 9, np.uint8), np.ones((2, 3, 1)), Box(-1, 0, 2, 3), (8, 8))
        >>> mean_patch([one, one])[1]
        array([[0., 0., 0.],
               [2., 2., 2.],
               [2., 2., 2.]])
    """
    _check_alike(tiles)
    # (h, w, 1) how many images reach each pixel, (h, w, 3) the sum of what they show there
    counts = np.sum([pad(tile, np.ones_like(tile.patch[..., :1], np.float64)) for tile in tiles], axis=0)
    total = np.sum([pad(tile, tile.patch.astype(np.float64)) for tile in tiles], axis=0)
    return np.rint(total / np.maximum(counts, 1)).astype(np.uint8), counts[..., 0]


def overlay_figure(
    panels: Sequence[MapPanel],
    title: str,
    subtitle: str = "",
    columns: int | None = None,
    tile_size: int | None = None,
    scaling: Scaling | str = DEFAULT_SCALING,
    terms: str = "",
) -> Image.Image:
    """Return for every feature map the sum of its projections, the mean of its patches, and the projections.

    Args:
        panels: The feature maps, in reading order; all of one layer.
        title: Names the model and the layer.
        subtitle: Below the title.
        columns: Maps side by side; None chooses, at most 2400 pixels wide.
        tile_size: Length of a small tile's longer side, 64 by default; the sum is as large as their grid.
        scaling: How values become colours; the sum and each projection are scaled by themselves.
        terms: What the words in captions mean, for the legend.

    Raises:
        BadInputError: No panel, boxes of one map that differ in size, a size or columns below 1.

    Example:
        >>> from backlight.geometry import Box
        >>> tile = Tile(np.zeros((7, 7, 3), np.uint8), np.ones((7, 7, 3)), Box(0, 0, 7, 7), (9, 9))
        >>> overlay_figure([MapPanel("channel 0", [tile] * 9)], "features.0").mode
        'RGB'
    """
    scaling = parse_scaling(scaling)
    if tile_size is not None and tile_size < 1:
        raise BadInputError(f"a tile must be at least 1 pixel large, got {tile_size}")
    n_cells = max((max(p.top, len(p.tiles)) for p in panels), default=1)
    blocks = with_evidence([_panel(p, n_cells, tile_size or _TILE_SIZE, scaling) for p in panels], panels)
    legend = (
        "Left: the projections of the strongest hits, aligned on the receptive field and added. "
        "Middle: the mean of their image patches. Right: the projections themselves. "
        f"The sum and the projections are each scaled {scaling.caption}. {notes(panels)}"
    )
    return page(blocks, Frame(title, subtitle, f"{legend} {terms}".strip(), columns))


def blend(
    image: UInt8[np.ndarray, "h w 3"],
    projection: Float[np.ndarray, "_ _ c"],
    scaling: Scaling | str = DEFAULT_SCALING,
) -> UInt8[np.ndarray, "h w 3"]:
    """Return the projection drawn over its photograph, which is dimmed and grey.

    The larger a pixel's value, the less of the photograph shows through; where the projection is zero the
    photograph shows alone.

    Args:
        image: The preprocessed photograph.
        projection: Signed values of the same height and width.
        scaling: How values become colours; MIN_MAX, whose zero is not grey, hides the photograph.

    Raises:
        BadInputError: Sizes that differ.

    Example:
        >>> blend(np.full((1, 1, 3), 228, np.uint8), np.zeros((1, 1, 3)))
        array([[[178, 178, 178]]], dtype=uint8)
    """
    if image.shape[:2] != projection.shape[:2]:
        raise BadInputError(
            f"a projection is drawn over an image of its size, got {image.shape} and {projection.shape}"
        )
    # (h, w, 1), 0..1: the strongest channel; the root lets faint values show
    strength = np.sqrt(np.abs(stretch(projection, scaling)).max(2, keepdims=True))
    # (h, w, 3) @ (3,) -> (h, w): the luma, with half of its contrast
    grey = 128 + _DIM * (image @ np.array(_LUMA) - 128)[..., None]
    drawn: Values = (1 - strength) * grey + strength * scale(projection, scaling)
    return np.rint(drawn).astype(np.uint8)


def strip(
    pictures: Sequence[tuple[str, Image.Image | UInt8[np.ndarray, "_ _ 3"]]],
    title: str = "",
    legend: str = "",
) -> Image.Image:
    """Return pictures side by side, each below its caption: photograph, projection, both, for example.

    Args:
        pictures: Captions and pictures; those below 224 pixels are enlarged by a whole factor.
        title: Above them.
        legend: Below them: what the colours mean.

    Raises:
        BadInputError: No picture.

    Example:
        >>> grey = Image.new("RGB", (224, 224), "grey")
        >>> strip([("photograph", grey), ("projection", grey)]).mode
        'RGB'
    """
    if not pictures:
        raise BadInputError("a strip shows at least one picture, got none")
    found = [_enlarged(picture) for _, picture in pictures]
    lines = [
        wrap(caption, SUBTITLE_SIZE, picture.width)
        for (caption, _), picture in zip(pictures, found, strict=True)
    ]
    above = max(map(len, lines)) * line_height(SUBTITLE_SIZE) + 4
    blocks = [_captioned(picture, own, above) for picture, own in zip(found, lines, strict=True)]
    return page([beside(blocks, GRID_GAP)], Frame(title, "", legend))


def _panel(panel: MapPanel, n_cells: int, tile_size: int, scaling: Scaling) -> Image.Image:
    small = cell_grid([draw_projection(t, tile_size, scaling) for t in panel.tiles], n_cells, tile_size)
    if not panel.tiles:
        # as wide as what a live map has: two large squares, the small grid, and the gaps between them
        width = 2 * (small.height + GRID_GAP) + small.width
        return headed(never_active(small.height, width), panel.label, panel.note)
    patch, counts = mean_patch(panel.tiles)
    added = scale(superpose_tiles(panel.tiles), scaling)
    # `cell_grid` puts a frame of a pixel around, so that all three are equally high
    large = [
        cell_grid([_masked(picture, counts, small.height - 2)], 1, small.height - 2)
        for picture in (added, patch)
    ]
    return headed(beside([*large, small], GRID_GAP), panel.label, panel.note)


def _masked(picture: UInt8[np.ndarray, "h w 3"], counts: Float[np.ndarray, "h w"], size: int) -> Image.Image:
    """Return a picture at its size on the page, hatched where no hit has a pixel."""
    height, width = fit(counts.shape[0], counts.shape[1], size)
    # resized without smoothing, so that it stays black or white
    mask = np.repeat((counts > 0)[..., None] * np.uint8(255), 3, axis=2)
    shown = resize(mask, height, width, squares=True).convert("L")
    squares = is_small(counts.shape[0], counts.shape[1])
    return Image.composite(resize(picture, height, width, squares), hatch(height, width), shown)


def _enlarged(picture: Image.Image | UInt8[np.ndarray, "h w 3"]) -> Image.Image:
    found = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    factor = -(-_SMALLEST_PICTURE // max(found.size))
    size = (found.width * factor, found.height * factor)
    return ImageOps.expand(found.convert("RGB").resize(size, Image.Resampling.NEAREST), 1, LINE)


def _captioned(picture: Image.Image, lines: Sequence[str], above: int) -> Image.Image:
    """Return the picture below its caption, whose last line lies next to it."""
    result = Image.new("RGB", (picture.width, above + picture.height), WHITE)
    result.paste(picture, (0, above))
    for i, line in enumerate(lines):
        top = above - 4 - (len(lines) - i) * line_height(SUBTITLE_SIZE)
        draw_text(result, top, 0, line, SUBTITLE_SIZE)
    return result


def _check_alike(tiles: Sequence[Tile]) -> None:
    found = sorted({(tile.box.height, tile.box.width, tile.projection.shape[2]) for tile in tiles})
    if len(found) != 1:
        raise BadInputError(
            "tiles are aligned on boxes of one height, width and number of channels, "
            f"got {', '.join(map(str, found)) or 'no tile'}"
        )
