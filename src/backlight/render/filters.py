"""The filters of the first layer, as pictures."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from PIL import Image

from backlight.errors import BadInputError
from backlight.render.brightness import scale
from backlight.render.page import NOTE_SIZE, WHITE, Frame, page
from backlight.render.scaling import Scaling, parse_scaling
from backlight.render.text import MUTED, draw_text, line_height, text_width
from backlight.render.tiles import fit, resize

_SHORTEST_SIDE, _GAP = 48, 10


def filter_figure(
    weights: Float[np.ndarray, "n c kh kw"],
    title: str,
    subtitle: str = "",
    columns: int | None = None,
    tile_size: int | None = None,
    scaling: Scaling | str = Scaling.SYMMETRIC,
) -> Image.Image:
    """Return the filters of a first layer as a mosaic, each numbered by its channel and scaled by itself.

    Args:
        weights: Filters over grey (c = 1) or colour (c = 3) pixels.
        title: Names the model and the layer.
        subtitle: Below the title.
        columns: Filters side by side; None chooses, at most 2400 pixels wide.
        tile_size: Length of a filter's longer side; None takes the smallest whole multiple that reaches 48.
        scaling: How weights become colours.

    Raises:
        BadInputError: Filters over another number of channels, none at all, a tile size or columns below 1.

    Example:
        >>> filter_figure(np.ones((96, 3, 7, 7)), "features.0").mode
        'RGB'
    """
    if weights.ndim != 4 or weights.shape[1] not in (1, 3) or not weights.size:
        raise BadInputError(
            f"filters are drawn from weights (n, c, h, w) with c 1 or 3, got {weights.shape}; "
            "filters of deeper layers are not pictures; draw their projections"
        )
    if tile_size is not None and tile_size < 1:
        raise BadInputError(f"a filter must be at least 1 pixel large, got {tile_size}")
    scaling = parse_scaling(scaling)
    height, width = weights.shape[2:]
    longer = max(height, width)
    # -(-a // b) rounds up: a whole factor draws each weight as a square
    size = tile_size or longer * -(-_SHORTEST_SIDE // longer)
    # (c, kh, kw) -> (kh, kw, c)
    drawn = [scale(kernel.transpose(1, 2, 0), scaling) for kernel in weights]
    pictures = [resize(picture, *fit(height, width, size), squares=True) for picture in drawn]
    block_width = max(pictures[0].width, *(text_width(str(i), NOTE_SIZE) for i in range(len(weights))))
    blocks = [_numbered(picture, i, block_width) for i, picture in enumerate(pictures)]
    colour = "in colour" if weights.shape[1] == 3 else "in grey"
    legend = (
        f"The {len(weights)} filters of {height} x {width} pixels, {colour}, numbered by channel, "
        f"each scaled {scaling.caption}."
    )
    return page(blocks, Frame(title, subtitle, legend, columns, _GAP))


def _numbered(picture: Image.Image, number: int, width: int) -> Image.Image:
    """Return the picture above its number, both in the middle of a block of that width."""
    text = str(number)
    result = Image.new("RGB", (width, picture.height + line_height(NOTE_SIZE)), WHITE)
    result.paste(picture, ((width - picture.width) // 2, 0))
    draw_text(result, picture.height, (width - text_width(text, NOTE_SIZE)) // 2, text, NOTE_SIZE, MUTED)
    return result
