"""Measures: how far a reconstruction's code is from the code sought, as in both papers.

*Source*: Mahendran & Vedaldi (2014), section 5: the distance of the codes over the mean distance between codes of
photographs; their program uses squares instead. (2016), section 5: the distance over the length of the code.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from backlight.errors import BadInputError


@dataclass(frozen=True)
class CodeSpread:
    """How far the codes of photographs lie apart in a layer.

    Attributes:
        n_images: Number of photographs.
        distance: Mean over all pairs of different photographs.
        squared: Mean of the squares over all n² pairs, including each photograph with itself (0), as in the authors'
            program; so squared errors are n / (n - 1) times what they would be over pairs of different photographs.
    """

    n_images: int
    distance: float
    squared: float


def spread(codes: Float[Tensor, "n ..."]) -> CodeSpread:
    """Return how far codes lie apart.

    Raises:
        BadInputError: There are fewer than two codes, or they are all equal.

    Example:
        >>> spread(torch.tensor([[0.0], [3.0]]))
        CodeSpread(n_images=2, distance=3.0, squared=4.5)
    """
    count = len(codes)
    if count < 2:
        raise BadInputError(f"the distance between photographs needs at least 2 of them, got {count}")
    flat = codes.flatten(1)
    # (n, n), a row at a time: all differences at once would be n times as large as the codes
    distances = torch.stack([torch.linalg.vector_norm(flat - own, dim=1) for own in flat]).cpu().double()
    if not distances.any():
        raise BadInputError(f"the {count} photographs have the same code, so they cannot normalise errors")
    # each pair is there twice and the diagonal is 0: n (n - 1) distances of different photographs
    return CodeSpread(count, float(distances.sum() / (count * (count - 1))), float(distances.square().mean()))
