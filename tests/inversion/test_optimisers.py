"""The optimisers against their formulas in plain loops; each image of a batch by itself."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from backlight.inversion.optimisers import Adam, LeakyAdaGrad, Momentum, Optimiser

OPTIMISERS: list[Optimiser] = [Momentum(0.05), LeakyAdaGrad(2.0), Adam(0.3)]
SCALES = torch.linspace(0.5, 2.0, 6, dtype=torch.float64).view(1, 1, 2, 3)


def gradient_at(x: Tensor) -> Tensor:
    return SCALES * x + 0.1 * x**3


def run(optimiser: Optimiser, x: Tensor, n_steps: int) -> Tensor:
    step = optimiser.start(n_steps)
    for _ in range(n_steps):
        x = step(x, x.flatten(1).square().sum(1), gradient_at(x))
    return x


def start() -> Tensor:
    return torch.randn(3, 1, 2, 3, dtype=torch.float64)


def test_momentum() -> None:
    x, speed = start(), 0.0
    found = run(Momentum(0.05, 0.9), x, 5)
    for _ in range(5):
        speed = 0.9 * speed - 0.05 * gradient_at(x)
        x = x + speed
    torch.testing.assert_close(found, x)


def test_leaky_adagrad() -> None:
    x, speed, squares = start(), 0.0, 0.0
    found = run(LeakyAdaGrad(2.0, 0.9, 0.8), x, 5)
    for _ in range(5):
        gradient = gradient_at(x)
        squares = 0.9 * squares + gradient**2
        speed = 0.8 * speed - gradient / (1 / 2.0 + squares**0.5)
        x = x + speed
    torch.testing.assert_close(found, x)


def test_adam_equals_torchs_with_a_rate_that_falls_in_a_line() -> None:
    x = start()
    found = run(Adam(0.3, (0.9, 0.99)), x, 8)
    own = x.clone().requires_grad_()
    theirs = torch.optim.Adam([own], lr=0.3, betas=(0.9, 0.99), eps=1e-12)
    for done in range(8):
        theirs.param_groups[0]["lr"] = 0.3 * (1 - done / 8)
        own.grad = gradient_at(own.detach())
        theirs.step()
    torch.testing.assert_close(found, own.detach())


@pytest.mark.parametrize("optimiser", OPTIMISERS, ids=str)
def test_an_image_does_not_depend_on_the_others(optimiser: Optimiser) -> None:
    x = start()
    torch.testing.assert_close(run(optimiser, x, 6)[1:2], run(optimiser, x[1:2], 6), rtol=0, atol=0)


@pytest.mark.parametrize("optimiser", OPTIMISERS, ids=str)
def test_it_goes_down(optimiser: Optimiser) -> None:
    x = start()
    assert float(run(optimiser, x, 200).abs().max()) < 0.05 * float(x.abs().max())
