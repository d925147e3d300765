"""Images shifted, magnified and turned."""

from __future__ import annotations

from math import cos, radians, sin
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from backlight.errors import BadInputError

Transform = Literal["translation", "scale", "rotation"]
"""Shifted down by pixels, magnified about the middle by a factor, turned about the middle by degrees."""

TRANSFORMS: tuple[Transform, ...] = get_args(Transform)

Border = Literal["mean", "edge"]
"""What fills the place that the image has left: its mean colour, or its outermost pixels, repeated."""

BORDERS: tuple[Border, ...] = get_args(Border)

_TEXTS: dict[Transform, str] = {"translation": "{:+g} px", "scale": "×{:g}", "rotation": "{:g}°"}
_UNCHANGED: dict[Transform, float] = {"translation": 0.0, "scale": 1.0, "rotation": 0.0}


def check_border(border: str) -> None:
    """Raise BadInputError unless it is a border."""
    if border not in BORDERS:
        raise BadInputError(f"a border is {' or '.join(BORDERS)}, got {border!r}")


def amount_text(transform: Transform, amount: float) -> str:
    """Return an amount with its unit.

    Example:
        >>> amount_text("translation", 5.0), amount_text("scale", 1.2), amount_text("rotation", 90.0)
        ('+5 px', '×1.2', '90°')
    """
    return _TEXTS[transform].format(amount)


def is_identity(transform: Transform, amount: float) -> bool:
    """Return whether a transformation leaves every image unchanged: 0 pixels, factor 1, whole turns.

    Example:
        >>> is_identity("rotation", 360.0), is_identity("scale", 0.0)
        (True, False)
    """
    return bool((amount % 360 if transform == "rotation" else amount) == _UNCHANGED[transform])


def is_exact(transform: Transform, amount: float, height: int, width: int) -> bool:
    """Return whether a transformation only moves pixels: shifts by whole pixels, quarter turns, what changes nothing.

    Everything else reads between pixels, which blurs the image a little.

    Args:
        transform: The transformation.
        amount: Its amount.
        height: Rows of the image.
        width: Columns of the image.

    *Convention*: turned by 90 degrees, an image of odd height and even width (or the reverse) is read between pixels.

    Example:
        >>> [is_exact("rotation", angle, 8, 8) for angle in (90.0, 91.0)], is_exact("rotation", 90.0, 8, 9)
        ([True, False], False)
    """
    if transform == "translation":
        return float(amount).is_integer()
    if transform == "rotation" and amount % 90 == 0:
        return amount % 180 == 0 or (height - width) % 2 == 0
    return is_identity(transform, amount)


def transformed(
    image: Float[Tensor, "c h w"], transform: Transform, amount: float, border: Border = "mean"
) -> Float[Tensor, "c h w"]:
    """Return an image that is shifted down, magnified about its middle, or turned about its middle.

    Args:
        image: An input of the network (c, h, w).
        transform: How the image is changed.
        amount: Pixels, a factor above 0, or degrees.
        border: What fills the place that the image has left.

    *Convention*: a positive shift is downwards, a positive angle counter-clockwise. Between pixels the result is
    interpolated bilinearly in double precision, so that shifts by whole pixels and quarter turns of a square are exact.
    There is no smoothing: a factor well below 1 aliases. An identity returns exactly the image.

    Example:
        >>> transformed(torch.arange(9.0).reshape(1, 3, 3), "translation", 1.0, "edge")[0].round()
        tensor([[0., 1., 2.],
                [0., 1., 2.],
                [3., 4., 5.]])
    """
    if is_identity(transform, amount):
        return image.clone()
    source = image.detach().cpu().double()
    # (1, h, w, 2): for each place of the result, where in the image it is read
    grid = affine_grid(_sources(transform, amount, *image.shape[1:]), [1, *image.shape], align_corners=False)
    if border == "edge":
        return grid_sample(source[None], grid, padding_mode="border", align_corners=False)[0].to(image)
    # grid_sample fills with zeros, which are the mean once it is subtracted
    mean = source.mean((1, 2), keepdim=True)
    return (grid_sample((source - mean)[None], grid, align_corners=False)[0] + mean).to(image)


def _sources(transform: Transform, amount: float, height: int, width: int) -> Float[Tensor, "1 2 3"]:
    """Return the map from places in the result to places in the image, (col, row) in half sides from the middle."""
    angle = radians(amount) if transform == "rotation" else 0.0
    factor = amount if transform == "scale" else 1.0
    # half of the height is 1 in units of half sides
    down = 2 * amount / height if transform == "translation" else 0.0
    # the inverse of the change: what is magnified by f is read at 1/f of the distance. Half sides differ where the
    # image is no square, so a turn scales what it moves from one axis to the other.
    # Rows of the matrix give col and row of the source, columns take col, row and 1 of the result; what has moved down
    # is read higher up.
    along, across = cos(angle) / factor, sin(angle) / factor
    return torch.tensor(
        [[[along, -across * height / width, 0.0], [across * width / height, along, -down]]],
        dtype=torch.float64,
    )
