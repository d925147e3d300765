"""Measures: how far the codes of photographs lie apart, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backlight.errors import BadInputError
from backlight.inversion.measures import CodeSpread, spread


@pytest.mark.parametrize("shape", [(4, 3), (5, 2, 3, 4)])
def test_the_spread_is_that_of_all_pairs(shape: tuple[int, ...]) -> None:
    """*Convention*: the mean distance leaves out the pairs of a photograph with itself, the mean square does not."""
    codes = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    pairs = [float((a - b).norm()) for i, a in enumerate(codes) for j, b in enumerate(codes) if i != j]
    found = spread(codes)
    assert found.n_images == len(codes)
    assert found.distance == pytest.approx(np.mean(pairs), rel=1e-6)
    assert found.squared == pytest.approx(np.sum(np.square(pairs)) / len(codes) ** 2, rel=1e-6)


def test_two_of_three_equal_codes_still_have_a_distance() -> None:
    assert spread(torch.tensor([[1.0], [1.0], [4.0]])) == CodeSpread(3, distance=2.0, squared=4.0)


def test_what_has_no_spread_is_refused() -> None:
    with pytest.raises(BadInputError, match="needs at least 2 of them, got 1"):
        spread(torch.ones(1, 3))
    with pytest.raises(BadInputError, match="the 4 photographs have the same code, so they cannot normalise"):
        spread(torch.ones(4, 3))
