"""The door from what an atlas holds to what draws it.

Records and the reader never import their drawings, and drawings never import the reader: they take records. What draws
is imported here alone, when a picture or a card is asked for; reading numbers does not load it.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

from PIL import Image

from backlight.atlas.cards import card
from backlight.errors import BacklightError
from backlight.render import DEFAULT_SCALING, Scaling


@dataclass(frozen=True)
class FigureLook:
    """How a figure of feature maps is drawn.

    Attributes:
        scaling: How values become colours.
        columns: Maps side by side; None chooses.
        full_field: Draw whole receptive fields, even where the projections fill only their centre.
        low_pass: Average the projections over half a stride of the layer; the figure says so.
        names: Say below each map the labels of its hits and the names of their files.
    """

    scaling: Scaling | str = DEFAULT_SCALING
    columns: int | None = None
    full_field: bool = False
    low_pass: bool = False
    names: bool = False


def draw(figure: str, *arguments: object) -> Image.Image:
    """Return the picture that a function of `backlight.atlas.figures` draws.

    Args:
        figure: The function's name.
        *arguments: Its arguments.
    """
    picture: Image.Image = getattr(import_module("backlight.atlas.figures"), figure)(*arguments)
    return picture


def show(drawn: str, title: str, *arguments: object) -> str | None:
    """Return the HTML that a function of `backlight.web.notebook` draws: looked up, as no import may point there.

    It never raises, for a notebook's sake: what Backlight can say is said in the card, and without any card the
    notebook shows the picture, or the text, instead.

    Args:
        drawn: The function's name.
        title: What is shown, for a card that has only a reason.
        *arguments: Its arguments.
    """
    try:
        html: str = getattr(import_module("backlight.web.notebook"), drawn)(*arguments)
    except BacklightError as error:
        return card(title, str(error))
    except Exception:
        return None
    return html
