"""Covering pixels: which pixels, and what is shown in their place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from backlight.errors import BadInputError
from backlight.geometry import Box

Fill = Literal["mean", "blur", "noise"]
"""What covered pixels are replaced by: the image's mean colour, the blurred image, or noise of the image's colours."""

FILLS_IN_WORDS: dict[Fill, str] = {
    "mean": "the image's mean colour",
    "blur": "the blurred image",
    "noise": "noise",
}

BLUR_SIGMA = 5.0
_BLUR_SIZE = 31


def check_fills(fills: Sequence[str]) -> None:
    """Raise BadInputError unless each is a fill, and there is one."""
    unknown = [fill for fill in fills if fill not in get_args(Fill)]
    if unknown or not fills:
        given = ", ".join(map(repr, unknown)) or "none"
        raise BadInputError(f"a fill is {', '.join(get_args(Fill))}, got {given}")


def filled(
    image: Float[Tensor, "c h w"], fill: Fill, generator: np.random.Generator
) -> Float[Tensor, "c h w"]:
    """Return what the covered pixels of an image show.

    Args:
        image: An input of the network (c, h, w).
        fill: `mean`: each channel's mean over the image. `blur`: the image under a Gaussian of 5 pixels, mirrored
            at the edges (a small image is blurred by less). `noise`: normal, independent for
            each pixel and channel, with the channel's mean and standard deviation.
        generator: Draws the noise.

    Example:
        >>> filled(torch.arange(8.0).reshape(2, 2, 2), "mean", np.random.default_rng(0))[:, 0, 0]
        tensor([1.5000, 5.5000])
    """
    # (c, 1, 1), shown as (c, h, w)
    mean = image.mean((1, 2), keepdim=True).expand_as(image)
    if fill == "mean":
        return mean.clone()
    if fill == "noise":
        noise = torch.from_numpy(generator.standard_normal(image.shape)).to(image)
        return mean + image.std((1, 2), correction=0, keepdim=True) * noise
    # Mirroring reaches size // 2 pixels beyond the edge, and must stay below the side: at most 2 · side - 1 is allowed.
    size = min(_BLUR_SIZE, *(2 * side - 1 for side in image.shape[1:]))
    blurred: Tensor = gaussian_blur(image[None], [size, size], [BLUR_SIGMA, BLUR_SIGMA])[0]
    return blurred


def largest_shares(
    scores: NDArray[np.floating], shares: Sequence[float], generator: np.random.Generator
) -> Bool[np.ndarray, "k h w"]:
    """Return for each share the mask of that share of the pixels: those with the largest scores.

    *Convention*: ties (a projection has many zeros) are broken at random, in the same way for all shares; the number of
    pixels is rounded, and at least one.

    Example:
        >>> largest_shares(np.array([[1.0, 3.0], [2.0, 0.0]]), [0.25, 0.5], np.random.default_rng(0)).sum((1, 2))
        array([1, 2])
    """
    flat = scores.ravel()
    # lexsort sorts by its last key first: by descending score, ties by the random numbers
    order = np.lexsort((generator.random(flat.size), -flat))
    ranks = np.empty(flat.size, np.int64)  # ranks[i]: how many pixels have a larger score than pixel i
    ranks[order] = np.arange(flat.size)
    counts = [max(1, round(share * flat.size)) for share in shares]
    return np.stack([(ranks < count).reshape(scores.shape) for count in counts])


Sides = int | tuple[int, int]
"""A length along both axes, or (rows, columns)."""


def along_both(sides: Sides) -> tuple[int, int]:
    """Return the length along rows and along columns.

    Example:
        >>> along_both(8), along_both((8, 4))
        ((8, 8), (8, 4))
    """
    return sides if isinstance(sides, tuple) else (sides, sides)


def sliding_squares(height: int, width: int, size: Sides, stride: Sides) -> tuple[list[int], list[int]]:
    """Return the top rows and left columns of a window that slides over an image, the last ones flush with its edges.

    Args:
        height: Rows of the image.
        width: Its columns.
        size: Side of a square window, or its height and width.
        stride: Pixels from one position to the next, or (down, right).

    Raises:
        BadInputError: The window does not fit into the image, or the stride is below 1.

    *Convention*: where the stride does not divide the distance, the last step is shorter, so that whole windows cover
    every pixel.

    Example:
        >>> sliding_squares(10, 8, 4, 4), sliding_squares(10, 8, (10, 4), (1, 2))
        (([0, 4, 6], [0, 4]), ([0], [0, 2, 4]))
    """
    sides, steps = along_both(size), along_both(stride)
    if isinstance(size, int) and not 1 <= size <= min(height, width):
        raise BadInputError(
            f"the side of the square must be 1 to {min(height, width)} pixels, as the network sees images of "
            f"{height}x{width}, got {size}; choose a smaller one"
        )
    if not (1 <= sides[0] <= height and 1 <= sides[1] <= width):
        raise BadInputError(
            f"the window must be at most {height}x{width} pixels, as the network sees images, got "
            f"{sides[0]}x{sides[1]}; choose a smaller one"
        )
    if min(steps) < 1:
        raise BadInputError(f"the stride of the square must be at least 1 pixel, got {min(steps)}")
    # range ends before the last place, length - side, which is added whether or not the stride leads there
    rows, cols = (
        [*range(0, length - side, step), length - side]
        for length, side, step in zip((height, width), sides, steps, strict=True)
    )
    return rows, cols


def covered(image: Float[Tensor, "c h w"], fill: Float[Tensor, "c h w"], boxes: Sequence[Box]) -> Tensor:
    """Return a copy of the image for each box, (n, c, h, w), in which the box shows the fill (c, h, w)."""
    result = image.repeat(len(boxes), 1, 1, 1)
    for copy, box in zip(result, boxes, strict=True):
        copy[:, *box.slices()] = fill[:, *box.slices()]
    return result
