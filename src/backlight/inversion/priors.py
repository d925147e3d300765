"""Priors on images: how unlike a photograph an image is, with the gradient written out.

*Source*: Mahendran & Vedaldi (2014), section 3, and (2016), section 2: the α-norm keeps values in range, the total
variation removes needless detail. Both papers use the same two functions and differ in constants, and in whether the
norm is of single values or of the colour of a pixel; recipes say which.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from backlight.errors import BadInputError

Costs = Float[Tensor, " n"]
Levels = Float[Tensor, "n c h w"]


@runtime_checkable
class Prior(Protocol):
    """A cost of each image that needs no network."""

    @property
    def name(self) -> str:
        """Name of its curve."""

    def __call__(self, x: Levels) -> tuple[Costs, Levels]:
        """Return the cost of each image and its gradient."""


@dataclass(frozen=True)
class Norm:
    """weight · Σ |x|^alpha, of single values or of the Euclidean length of each pixel's colour.

    Attributes:
        weight: Factor of the sum, at least 0.
        alpha: Exponent, at least 1; 6 in both papers.
        of: "values" (2014) or "colours" (2016).

    Example:
        >>> Norm(1.0, 2.0)(torch.ones(1, 3, 2, 2))[0]
        tensor([12.])
    """

    weight: float
    alpha: float = 6.0
    of: Literal["values", "colours"] = "values"

    def __post_init__(self) -> None:
        """Refuse a negative weight, or an exponent below 1."""
        _check(self.weight, "alpha", self.alpha)

    @property
    def name(self) -> str:
        """Name of its curve."""
        return "norm"

    def __call__(self, x: Levels) -> tuple[Costs, Levels]:
        """Return the cost of each image and its gradient."""
        # |x|^alpha is written with squares, which both kinds of length start from: (n, c, h, w), or (n, 1, h, w) of
        # colours. The powers are one square short, so that they serve the gradient too: alpha |x|^(alpha - 2) x.
        squares = x.square() if self.of == "values" else x.square().sum(1, keepdim=True)
        powers = _power(squares, self.alpha / 2 - 1)
        value = (powers * squares).flatten(1).sum(1)  # (n,)
        return self.weight * value, x * powers.mul_(self.weight * self.alpha)


@dataclass(frozen=True)
class TotalVariation:
    """weight · Σ (dx² + dy²)^(beta/2) over pixels and channels, each channel separately.

    Attributes:
        weight: Factor of the sum, at least 0.
        beta: Exponent, at least 1; 2 in both papers. Below 2 edges are sharper, but subsampling layers cause spikes.
        guard: In the gradient, dx² + dy² counts as at least this, which bounds the gradient for beta below 2: 1e-5 in
            the program of 2014, 1e-6 in that of 2016.

    *Convention*: differences to the next row and the next column, 0 in the last of each (the border is repeated).

    Example:
        >>> TotalVariation(1.0)(torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]]))[0]
        tensor([2.])
    """

    weight: float
    beta: float = 2.0
    guard: float = 1e-5

    def __post_init__(self) -> None:
        """Refuse a negative weight, an exponent below 1, or a guard that is not positive."""
        _check(self.weight, "beta", self.beta)
        if not self.guard > 0:
            raise BadInputError(f"the guard of a total variation must be positive, got {self.guard}")

    @property
    def name(self) -> str:
        """Name of its curve."""
        return "variation"

    def __call__(self, x: Levels) -> tuple[Costs, Levels]:
        """Return the cost of each image and its gradient."""
        # (n, c, h, w) differences to the next row and column; the last row and column stay 0
        down, right = torch.zeros_like(x), torch.zeros_like(x)
        torch.sub(x[..., 1:, :], x[..., :-1, :], out=down[..., :-1, :])
        torch.sub(x[..., 1:], x[..., :-1], out=right[..., :-1])
        squares = down.square().addcmul_(right, right)
        value = _power(squares, self.beta / 2).flatten(1).sum(1)
        # d/dx of (dx² + dy²)^(beta/2) through each difference: scale times the difference
        scale = _power(squares.clamp_min(self.guard), self.beta / 2 - 1).mul_(self.weight * self.beta)
        down.mul_(scale)
        right.mul_(scale)
        # A pixel is the minuend of the differences above and left of it, and the subtrahend of its own two.
        gradient = (down + right).neg_()
        # the differences above and left, shifted back to the pixel that they end at
        gradient[..., 1:, :] += down[..., :-1, :]
        gradient[..., 1:] += right[..., :-1]
        return self.weight * value, gradient


@dataclass(frozen=True)
class OutOfRange:
    """weight · Σ d², with d how far a value lies below `low` or above `high` of its channel, and 0 between them.

    Unlike a norm it leaves every value that a picture can hold alone, however dark or bright.

    Attributes:
        weight: Factor of the sum, at least 0.
        low: (c,) the smallest value that costs nothing; for pictures black, without the mean.
        high: (c,) the largest; for pictures white.

    Example:
        >>> OutOfRange(1.0, (0.0,), (255.0,))(torch.tensor([[[[-2.0, 100.0, 256.0]]]]))[0]
        tensor([5.])
    """

    weight: float
    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse a negative weight, or limits that do not belong together."""
        matched = len(self.low) == len(self.high) and all(
            low < high for low, high in zip(self.low, self.high, strict=False)
        )
        if not self.weight >= 0 or not matched:
            raise BadInputError(
                "a range must have a weight of at least 0 and for each channel a low below a high, got "
                f"{self.weight}, {self.low} and {self.high}"
            )

    @property
    def name(self) -> str:
        """Name of its curve."""
        return "range"

    def __call__(self, x: Levels) -> tuple[Costs, Levels]:
        """Return the cost of each image and its gradient."""
        low, high = (x.new_tensor(limit).view(1, -1, 1, 1) for limit in (self.low, self.high))
        # negative below the range, positive above it: x minus the nearest value that costs nothing
        outside = x - x.clamp(low, high)
        return self.weight * outside.square().flatten(1).sum(1), outside.mul_(2 * self.weight)


def per_unit_norm(weight: float, alpha: float, sigma: float) -> float:
    """Return the paper's weight of Σ|x|^alpha for images of unit length, from the program's weight for σx.

    *Source*: the paper's λ_α is for images divided by σ, their average length; its program takes half of its weight for
    grey levels, and divides the whole objective by σ²: 8e-10 becomes λ_α = 8e-10 / 2 · σ⁴ = 2.157e8, and the total
    variation's 1, 10, 100 become 0.5, 5, 50.

    Example:
        >>> f"{per_unit_norm(8e-10, 6.0, 27098.11571533):.4g}"
        '2.157e+08'
    """
    return weight / 2 * float(sigma ** (alpha - 2))


def _power(values: Tensor, exponent: float) -> Tensor:
    """Return a new tensor of values ** exponent, for values of at least 0."""
    return torch.ones_like(values) if exponent == 0 else values.pow(exponent)


def _check(weight: float, name: str, exponent: float) -> None:
    if not weight >= 0 or not exponent >= 1:
        raise BadInputError(
            f"a prior must have a weight of at least 0 and {name} of at least 1, got {weight} and {exponent}"
        )
