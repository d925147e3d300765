"""The priors: their gradients against finite differences, the papers' constants, where the last differences end."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from backlight.errors import BadInputError
from backlight.inversion.priors import Norm, Prior, TotalVariation, per_unit_norm

PRIORS: list[Prior] = [
    Norm(0.7, 6.0, "values"),
    Norm(0.7, 6.0, "colours"),
    Norm(1.3, 2.0, "values"),
    Norm(1.3, 3.0, "colours"),
    TotalVariation(0.9, 2.0),
    TotalVariation(0.9, 1.5),
    TotalVariation(0.9, 1.0),
]


def finite_differences(cost: Callable[[Tensor], Tensor], x: Tensor, step: float = 1e-5) -> Tensor:
    gradient = torch.zeros_like(x)
    for i in range(x.numel()):
        moved = [x.clone(), x.clone()]
        for own, sign in zip(moved, (1, -1), strict=True):
            own.view(-1)[i] += sign * step
        gradient.view(-1)[i] = (cost(moved[0]).sum() - cost(moved[1]).sum()) / (2 * step)
    return gradient


@pytest.mark.parametrize("prior", PRIORS, ids=str)
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 1, 1, 6)])
def test_gradients_equal_finite_differences(prior: Prior, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, dtype=torch.float64)
    cost, gradient = prior(x)
    assert cost.shape == shape[:1]
    expected = finite_differences(lambda image: prior(image)[0], x)
    torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-7)


def test_norm_of_values_and_of_colours_differ() -> None:
    x = torch.randn(1, 3, 2, 2, dtype=torch.float64)
    values, colours = (float(Norm(2.0, 6.0, of)(x)[0]) for of in ("values", "colours"))  # type: ignore[arg-type]
    assert values == pytest.approx(2 * float(x.abs().pow(6).sum()))
    assert colours == pytest.approx(2 * float(x.norm(dim=1).pow(6).sum()))


def test_variation_is_of_each_channel_with_a_repeated_border() -> None:
    x = torch.randn(1, 2, 3, 4, dtype=torch.float64)
    total = 0.0
    for channel in range(2):
        for row in range(3):
            for col in range(4):
                down = x[0, channel, min(row + 1, 2), col] - x[0, channel, row, col]
                right = x[0, channel, row, min(col + 1, 3)] - x[0, channel, row, col]
                total += float(down**2 + right**2) ** 0.75
    assert float(TotalVariation(1.0, 1.5)(x)[0]) == pytest.approx(total)


def test_the_guard_bounds_the_gradient_where_nothing_varies() -> None:
    x = torch.zeros(1, 1, 3, 3, dtype=torch.float64)
    x[0, 0, 1, 1] = 1e-9
    steep, bounded = (float(TotalVariation(1.0, 1.0, guard)(x)[1].abs().max()) for guard in (1e-30, 1e-5))
    assert steep > 1
    assert bounded < 1e-5


def test_the_programs_constants_become_the_papers() -> None:
    sigma = 27098.11571533
    assert per_unit_norm(8e-10, 6.0, sigma) == pytest.approx(2.157e8, rel=1e-3)
    assert [per_unit_norm(own, 2.0, sigma) for own in (1.0, 10.0, 100.0)] == [0.5, 5, 50]


@pytest.mark.parametrize(
    "make", [lambda: Norm(-1.0), lambda: Norm(1.0, 0.5), lambda: TotalVariation(1.0, 0.9)]
)
def test_what_is_no_prior_is_refused(make: Callable[[], Prior]) -> None:
    with pytest.raises(BadInputError, match="a weight of at least 0"):
        make()
