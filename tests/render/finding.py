"""Finding a colour in a picture."""

from __future__ import annotations

import numpy as np
from PIL import Image

from backlight.geometry import Box


def box_of(picture: Image.Image | np.ndarray, colour: tuple[int, int, int]) -> Box | None:
    """Return the bounding box of a colour, or None."""
    rows, cols = np.nonzero((np.asarray(picture) == colour).all(2))
    return Box(*map(int, (rows.min(), cols.min(), rows.max() + 1, cols.max() + 1))) if len(rows) else None
