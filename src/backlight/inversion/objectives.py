"""Objectives: how far a code is from what it should be, one number for each image; the lower, the better.

*Source*: Mahendran & Vedaldi (2014), equation 1, for the match; (2016), section 2.2 for the inner product, which
serves activation maximisation and caricatures.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Objective(Protocol):
    """A cost of each code."""

    def __call__(self, codes: Tensor) -> Tensor:
        """Return (n,) costs of codes (n, c, h, w) or (n, c), differentiable."""


@dataclass(frozen=True, eq=False)
class Match:
    """‖(Φ(x) - Φ₀) m‖² / ‖Φ₀ m‖² for each image; its square root is the relative error.

    Attributes:
        targets: (n, c, h, w) or (n, c) the codes Φ₀; n may be 1 for one target for all.
        mask: m, 1 for the part to match and 0 elsewhere, of any shape that broadcasts; None to match everything.
    """

    targets: Tensor
    mask: Tensor | None = None

    @cached_property  # the targets stay the same over hundreds of steps
    def energy(self) -> Tensor:
        """(n,) ‖Φ₀ m‖²: what a code of zeros costs before the division."""
        return _masked(self.targets, self.mask).flatten(1).square().sum(1)

    def __call__(self, codes: Tensor) -> Tensor:
        """Return (n,) costs of codes (n, c, h, w) or (n, c), differentiable."""
        # everything but the batch in one axis, so that vectors and maps go the same way: (n, c·h·w) to (n,)
        return _masked(codes - self.targets, self.mask).flatten(1).square().sum(1) / self.energy


@dataclass(frozen=True, eq=False)
class InnerProduct:
    """-⟨Φ₀ m, Φ(x)⟩ for each image: unbounded, the lower the more of Φ₀ the code has.

    Attributes:
        targets: (n, c, h, w) or (n, c) the directions Φ₀; n may be 1 for one target for all.
        mask: m, 1 for the part that counts and 0 elsewhere; None for everything.
    """

    targets: Tensor
    mask: Tensor | None = None

    def __call__(self, codes: Tensor) -> Tensor:
        """Return (n,) costs of codes (n, c, h, w) or (n, c), differentiable."""
        # negative, since a search lowers costs; masking one factor is enough
        return -(codes * _masked(self.targets, self.mask)).flatten(1).sum(1)


def _masked(codes: Tensor, mask: Tensor | None) -> Tensor:
    return codes if mask is None else codes * mask
