"""The door from what an atlas holds to what draws it.

Records and the reader never import their drawings, and drawings never import the reader: they take records. What draws
is imported here alone, when a picture is asked for; reading numbers does not load it.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

from PIL import Image

from backlight.render import DEFAULT_SCALING, Scaling


@dataclass(frozen=True)
class FigureLook:
    """How a figure of feature maps is drawn.

    Attributes:
        scaling: How values become colours.
        columns: Maps side by side; None chooses.
        full_field: Draw whole receptive fields, even where the projections fill only their centre.
        low_pass: Average the projections over half a stride of the layer; the figure says so.
    """

    scaling: Scaling | str = DEFAULT_SCALING
    columns: int | None = None
    full_field: bool = False
    low_pass: bool = False


def draw(figure: str, *arguments: object) -> Image.Image:
    """Return the picture that a function of `backlight.atlas.figures` draws.

    Args:
        figure: The function's name.
        *arguments: Its arguments.
    """
    picture: Image.Image = getattr(import_module("backlight.atlas.figures"), figure)(*arguments)
    return picture
