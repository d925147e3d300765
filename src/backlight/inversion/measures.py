"""Measures: how far a reconstruction's code is from what it should be, in the ways of both papers.

*Source*: Mahendran & Vedaldi (2014), section 5: the distance of the codes over the mean distance between codes of
photographs; their program divides squares instead. (2016), section 5: the distance over the length of the code.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from backlight.errors import BadInputError


@dataclass(frozen=True)
class Spread:
    """How far the codes of photographs lie apart in a layer.

    Attributes:
        n_images: Of so many photographs.
        distance: Mean over all pairs of two photographs.
        squared: Mean of the squares over all n² pairs, each photograph with itself (0) among them, as the authors'
            program has it; so the squared error is n / (n - 1) times what it would be over pairs of two.
    """

    n_images: int
    distance: float
    squared: float


def spread(codes: Float[Tensor, "n ..."]) -> Spread:
    """Return how far codes lie apart.

    Raises:
        BadInputError: There are fewer than two codes, or they are all the same.

    Example:
        >>> spread(torch.tensor([[0.0], [3.0]]))
        Spread(n_images=2, distance=3.0, squared=4.5)
    """
    count = len(codes)
    if count < 2:
        raise BadInputError(f"the distance between photographs needs at least 2 of them, but came {count}")
    flat = codes.flatten(1)
    distances = torch.stack([torch.linalg.vector_norm(flat - own, dim=1) for own in flat]).cpu().double()
    if not distances.any():
        raise BadInputError(f"the {count} photographs have the same code; errors cannot be measured by them")
    return Spread(count, float(distances.sum() / (count * (count - 1))), float(distances.square().mean()))
