"""What a layer has lost: where restarts that match its code equally well still differ.

*Source*: Mahendran & Vedaldi (2014), Fig. 7, show several inversions of one code side by side; the mean and the
standard deviation per pixel are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from numpy.typing import NDArray

from backlight.errors import BadInputError
from backlight.inversion.colours import RMS
from backlight.inversion.result import Inversion

TOLERANCE = 0.2


@dataclass(frozen=True, eq=False)
class Lost:
    """How much restarts of equal error differ, by pixel.

    Attributes:
        restarts: Which restarts count: those of about the lowest error.
        mean: (h, w, 3) their mean, 8-bit RGB.
        deviation: (h, w) their standard deviation in grey levels: the root mean square over the colours; 0 where the
            code and the prior determine the pixel, about 70 for pixels of unrelated photographs.
    """

    restarts: tuple[int, ...]
    mean: UInt8[np.ndarray, "h w 3"]
    deviation: Float[np.ndarray, "h w"]

    @property
    def level(self) -> float:
        """Root mean square of the deviation over all pixels, in grey levels."""
        return float(np.sqrt(np.square(self.deviation).mean()))

    @property
    def picture(self) -> NDArray[np.uint8]:
        """(h, w, 3) the deviation from black, 0, to white, the deviation of unrelated photographs and more."""
        grey = np.clip(self.deviation * (255 / RMS), 0, 255).round().astype(np.uint8)
        return np.repeat(grey[..., None], 3, 2)


def lost(result: Inversion, tolerance: float = TOLERANCE) -> Lost:
    """Return the mean of the restarts that match the code equally well, and how much they differ at each pixel.

    Where they differ, the layer no longer knows what was there. The reverse does not hold: priors make restarts alike
    where the code says nothing too, so that this is the least that is lost.

    Args:
        result: An inversion with several restarts.
        tolerance: Restarts count whose picture's error is at most this share above the lowest.

    *Convention*: the variance is divided by the number of restarts less one.

    Raises:
        BadInputError: Fewer than two restarts count, the goal is another, or the tolerance is negative.

    Example:
        >>> import torch, torchvision, backlight
        >>> from backlight.inversion import InversionConfig, lost
        >>> net = backlight.capture(torchvision.models.squeezenet1_1(), (3, 32, 32))
        >>> found = backlight.invert(net, torch.rand(3, 32, 32), "features.2", InversionConfig(restarts=3))
        >>> lost(found, tolerance=1.0).deviation.shape
        (32, 32)
    """
    if not tolerance >= 0:
        raise BadInputError(f"the tolerance must be at least 0, got {tolerance}")
    restarts = equal_restarts(result, tolerance)
    if len(restarts) < 2:
        raise BadInputError(
            f"what is lost shows in at least 2 restarts of equal error, but {len(restarts)} of {len(result.pictures)} "
            f"has an error within {tolerance:.0%} of the lowest; search from more restarts"
        )
    # (r, h, w, 3) to the variance over r, (h, w, 3), and its mean over the colours
    shown = result.pictures[list(restarts)].astype(np.float64)
    deviation = np.sqrt(shown.var(0, ddof=1).mean(2))
    return Lost(restarts, shown.mean(0).round().astype(np.uint8), deviation)


def equal_restarts(result: Inversion, tolerance: float = TOLERANCE) -> tuple[int, ...]:
    """Return which restarts have a picture whose error is at most that share above the lowest.

    Raises:
        BadInputError: The goal is another than to match a code.
    """
    errors = result.shown.relative_errors
    return tuple(np.flatnonzero(errors <= errors.min() * (1 + tolerance)).tolist())
