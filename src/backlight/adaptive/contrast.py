"""Contrast normalisation of the input: each pixel relative to the mean and deviation of its neighbourhood.

*Source*: the program of Zeiler, Taylor & Fergus (2011), `local_cn`; the paper itself is less precise.

*Differs*: for an even number of pixels the median is the lower of the two in the middle, not their mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from backlight.errors import BadInputError

SIZE, SIGMA = 13, 3 * 1.591
_EPSILON = 1e-6


@dataclass(frozen=True)
class ContrastNormalisation:
    """Subtracts the local mean and divides by the local standard deviation, each channel separately.

    Both are weighted by a Gaussian window. The deviation counts as at least its median over the image (where that is
    zero, the median of the non-zero deviations), so that flat parts are not amplified; a flat image becomes zeros.

    *Convention*: the border is mirrored with its outermost pixels repeated, `ba|abc|cb`. Neither the scale of the
    pixels nor a constant added to them matters, up to rounding: deviations below a millionth of the largest pixel count
    as none.

    Attributes:
        size: Side of the window, odd.
        sigma: Standard deviation of the Gaussian, in pixels.

    Raises:
        BadInputError: An even size or one below 3, a sigma that is not positive.

    Example:
        >>> ContrastNormalisation()(torch.full((1, 1, 20, 20), 0.3)).abs().max() < 1e-6
        tensor(True)
    """

    size: int = SIZE
    sigma: float = SIGMA

    def __post_init__(self) -> None:
        """Refuse an invalid window."""
        if self.size < 3 or self.size % 2 == 0 or not self.sigma > 0:
            raise BadInputError(
                f"the window of a contrast normalisation needs an odd size of at least 3 and a positive sigma, "
                f"got {self.size} and {self.sigma}"
            )

    def __call__(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Return normalised images, with about unit variance where there is texture.

        Raises:
            BadInputError: Images smaller than half of the window.
        """
        margin = self.size // 2
        if min(images.shape[2:]) < margin:
            height, width = images.shape[2:]
            raise BadInputError(
                f"contrast is normalised over windows of {self.size} pixels, which an image of {height}x{width} cannot "
                f"mirror; use images of at least {margin}x{margin} pixels"
            )
        centred = images - images.mean((2, 3), keepdim=True)  # keeps the difference of squares exact
        mean = self._blur(centred)
        # (n, c, h, w): the variance is the mean square less the square of the mean
        deviation = (self._blur(centred.square()) - mean.square()).clamp_min(0).sqrt()
        # (n, c): a deviation below this is rounding
        least = images.abs().amax((2, 3)) * _EPSILON
        return (centred - mean) / torch.maximum(deviation, _floor(deviation, least))

    def _blur(self, images: Tensor) -> Tensor:
        """Return images blurred by the window, one axis after the other."""
        offsets = torch.arange(self.size, dtype=images.dtype, device=images.device) - self.size // 2
        window = torch.exp(-0.5 * (offsets / self.sigma).square())
        window = window / window.sum()
        # channels join the batch, (n * c, 1, ...), so that each is blurred separately
        n, c, height, width = images.shape
        flat = _mirrored(images, self.size // 2).reshape(
            n * c, 1, height + self.size - 1, width + self.size - 1
        )
        # A Gaussian is a product of one down the rows and one along the columns: for 13 x 13 pixels 26 products instead
        # of 169. Each takes away the margin at two sides.
        flat = F.conv2d(F.conv2d(flat, window.view(1, 1, -1, 1)), window.view(1, 1, 1, -1))
        return flat.reshape(n, c, height, width)


def _floor(deviation: Tensor, least: Tensor) -> Tensor:
    """Return (n, c, 1, 1) the smallest deviation that counts: the median, of the non-zero ones where that is zero.

    Args:
        deviation: (n, c, h, w).
        least: (n, c) a smaller deviation is rounding, and counts as zero.
    """
    flat = deviation.flatten(2)
    median = flat.median(2).values
    # NaN stands for zero deviations, which nanmedian leaves out; 1 for a flat image, which stays zeros
    positive = torch.where(flat > least[..., None], flat, torch.nan).nanmedian(2).values.nan_to_num(1.0)
    return torch.where(median > least, median, positive)[..., None, None]


def _mirrored(images: Tensor, margin: int) -> Tensor:
    """Return images with their border mirrored, the outermost pixels twice."""
    rows, cols = (_mirror(side, margin).to(images.device) for side in images.shape[2:])
    return images[:, :, rows][:, :, :, cols]


def _mirror(side: int, margin: int) -> Tensor:
    """Return (side + 2 * margin,) the row that each mirrored row repeats: 1 0 | 0 1 2 | 2 1."""
    indices = torch.arange(-margin, side + margin)
    # -1 repeats 0, -2 repeats 1, and `side` repeats side - 1. One reflection is enough, as no image is smaller than the
    # margin.
    indices = torch.where(indices < 0, -1 - indices, indices)
    return torch.where(indices >= side, 2 * side - 1 - indices, indices)
