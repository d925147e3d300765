"""Sheets: rows of signed pictures under headings, for reconstructions and decompositions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageOps
from torch import Tensor

from backlight.render import scale
from backlight.render.page import LINE, WHITE, Frame, below, beside, headed, page
from backlight.render.text import INK, draw_text, line_height, shorten
from backlight.render.tiles import fit, is_small, resize

WIDTH, GAP = 1152, 16
_SMALLEST, _LARGEST = 128, 200
_HEADING_SIZE, _SECTION_GAP = 17, 22


@dataclass(frozen=True, eq=False)
class Panel:
    """One picture of a row.

    Attributes:
        values: (h, w, c) signed.
        label: Text above it.
        caption: Text beside the label, in grey.
        reference: The values that set its scale; None for its own.
    """

    values: Float[np.ndarray, "h w c"]
    label: str
    caption: str = ""
    reference: Float[np.ndarray, "..."] | None = None


@dataclass(frozen=True, eq=False)
class Row:
    """Panels side by side.

    Attributes:
        heading: Text above them.
        panels: From left to right.
    """

    heading: str
    panels: Sequence[Panel]


def sheet(rows: Sequence[Row], title: str, subtitle: str, legend: str) -> Image.Image:
    """Return rows below each other, about 1200 pixels wide, wider where a row has more than 8 panels."""
    most = max(len(row.panels) for row in rows)
    size = min(max((WIDTH - (most - 1) * GAP) // most, _SMALLEST), _LARGEST)
    body = below([_row(row, size) for row in rows], _SECTION_GAP)
    return page([body], Frame(title, subtitle, legend))


def pixels(image: Tensor) -> Float[np.ndarray, "h w c"]:
    """Return a network's image (c, h, w) as an array (h, w, c) to draw."""
    found: Float[np.ndarray, "h w c"] = image.detach().cpu().numpy().transpose(1, 2, 0)
    return found


def framed(panel: Panel, size: int) -> Image.Image:
    """Return a panel, framed, below its label; its longer side has that size."""
    height, width = panel.values.shape[:2]
    drawn = scale(panel.values, reference=panel.reference)
    small = resize(drawn, *fit(height, width, size - 2), squares=is_small(height, width))
    return headed(ImageOps.expand(small, 1, LINE), panel.label, panel.caption)


def _row(row: Row, size: int) -> Image.Image:
    panels = beside([framed(panel, size) for panel in row.panels], GAP)
    if not row.heading:
        return panels
    above = line_height(_HEADING_SIZE) + 4
    result = Image.new("RGB", (panels.width, above + panels.height), WHITE)
    result.paste(panels, (0, above))
    heading = shorten(row.heading, _HEADING_SIZE, panels.width)
    draw_text(result, 0, 0, heading, _HEADING_SIZE, INK)
    return result
