"""What a window shows of an occlusion study: a fill made of the image, a constant, a colour, or another image."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import get_args

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import ImageColor
from torch import Tensor

from backlight.errors import BadInputError
from backlight.images import Preprocessing
from backlight.network import Images, Network
from backlight.studies.covering import FILLS_IN_WORDS, Fill, filled
from backlight.studies.shown import drawn_as

Shows = str | float | tuple[float, ...]
"""A fill made of the image (`Fill`), a colour as Pillow spells it, or a number (for each channel) of the input."""


def check_shows(shows: Shows) -> None:
    """Raise BadInputError unless it is a fill, a colour or a finite number for each channel."""
    if isinstance(shows, str):
        if shows not in get_args(Fill):
            _colour(shows)
        return
    values = shows if isinstance(shows, tuple) else (shows,)
    if not values or not all(isfinite(value) for value in values):
        raise BadInputError(f"a constant fill is a finite number, or one for each channel, got {shows!r}")


def in_words(shows: Shows, is_image: bool) -> str:
    """Return what covers, in words for a figure.

    Example:
        >>> in_words("mean", False), in_words("#808080", False), in_words((0.5, 1.0), False), in_words("mean", True)
        ("the image's mean colour", 'the colour #808080', 'the value 0.5, 1', 'another image')
    """
    if is_image:
        return "another image"
    if isinstance(shows, str):
        return next((words for fill, words in FILLS_IN_WORDS.items() if fill == shows), f"the colour {shows}")
    values = shows if isinstance(shows, tuple) else (shows,)
    return f"the value {', '.join(f'{value:g}' for value in values)}"


@dataclass(frozen=True, eq=False)
class Cover:
    """What covers an image.

    Attributes:
        values: (c, h, w) in the scale of the network's input.
        picture: (h, w, 3) uint8, as it is drawn beside the image; (0,) where it is made of the image, and can be again.
    """

    values: Tensor
    picture: NDArray[np.uint8]


def cover_of(
    net: Network,
    image: Float[Tensor, "c h w"],
    shows: Shows,
    seed: int,
    baseline: Images | None,
    preprocessing: Preprocessing | None,
) -> Cover:
    """Return what covers an image.

    Args:
        net: The captured network.
        image: The input.
        shows: The fill, colour or constant.
        seed: Random seed of noise.
        baseline: An image that covers in the place of these; None for none.
        preprocessing: How the image was made of a picture; None where a tensor was given, which is drawn stretched.

    Raises:
        BadInputError: Several baselines, one of another size, numbers that are not one for each channel, or a colour
            for a network without preprocessing.
    """
    if baseline is None and isinstance(shows, str) and shows in get_args(Fill):
        fill: Fill = shows  # type: ignore[assignment]
        return Cover(filled(image, fill, np.random.default_rng(seed)), np.zeros(0, np.uint8))
    values = _constant(net, image, shows) if baseline is None else _one_of(net, baseline)
    return Cover(values, drawn_as(values, image, preprocessing))


def _one_of(net: Network, baseline: Images) -> Tensor:
    found = net.prepare(baseline)
    if len(found) != 1:
        raise BadInputError(f"a baseline is one image, got {len(found)}; give one")
    return found[0]


def _constant(net: Network, image: Tensor, shows: Shows) -> Tensor:
    """Return an input (c, h, w) of one colour, or of one number for each channel."""
    if isinstance(shows, str):
        if net.preprocessing is None:
            raise BadInputError(
                f"the colour {shows!r} needs a network that knows how pictures become inputs; give numbers, or capture "
                "it with a preprocessing"
            )
        means, stds = net.preprocessing.mean, net.preprocessing.std
        rgb = _colour(shows)
        colour = rgb if len(means) == 3 else (sum(rgb) / 3,)
        values = tuple((c / 255 - m) / s for c, m, s in zip(colour, means, stds, strict=True))
    else:
        given = shows if isinstance(shows, tuple) else (shows,)
        values = given * len(image) if len(given) == 1 else given
    if len(values) != len(image):
        raise BadInputError(
            f"a constant fill is one number or one for each of the {len(image)} channels, got {len(values)}"
        )
    return (
        torch.tensor(values, dtype=image.dtype, device=image.device)[:, None, None].expand_as(image).clone()
    )


def _colour(text: str) -> tuple[int, ...]:
    try:
        return ImageColor.getrgb(text)[:3]
    except ValueError:
        known = ", ".join(get_args(Fill))
        raise BadInputError(
            f"a fill is {known}, a number, or a colour such as 'black' or '#808080', got {text!r}"
        ) from None
