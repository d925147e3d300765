"""The optimisers equal their formulas in plain loops; images of a batch do not depend on each other."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from backlight.inversion.optimisers import Adam, LeakyAdaGrad, Momentum, Optimiser, frequency_gains

OPTIMISERS: list[Optimiser] = [Momentum(0.05), LeakyAdaGrad(2.0), Adam(0.3), Adam(0.6, smoothness=0.7)]
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


def dense_filter(height: int, width: int, smoothness: float) -> Tensor:
    """Return C as a matrix, from its eigenvectors written out: waves over rows and columns."""
    rows, cols = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    rows, cols = rows.flatten().double(), cols.flatten().double()
    waves = torch.exp(2j * torch.pi * (torch.outer(rows, rows) / height + torch.outer(cols, cols) / width))
    down, right = (torch.minimum(own, side - own) / side for own, side in ((rows, height), (cols, width)))
    gains = (down**2 + right**2).sqrt().clamp_min(1 / 64) ** -smoothness
    return (waves @ torch.diag(gains.to(waves.dtype)) @ waves.conj().T / (height * width)).real


def test_smooth_adam_is_adam_on_what_the_image_is_a_filtering_of() -> None:
    height, width, smoothness = 6, 5, 0.7
    x = torch.randn(2, 3, height, width, dtype=torch.float64)
    matrix = dense_filter(height, width, smoothness)
    gains = frequency_gains(x, smoothness)
    assert float(gains.square().mean()) == pytest.approx(1)
    matrix = matrix * (gains[0, 0] * 64**-smoothness)  # the same scale; frequency 0 counts as 1 / 64

    def slope(x: Tensor) -> Tensor:
        return x + 0.1 * x**3

    found, step = x, Adam(0.3, smoothness=smoothness).start(8)
    for _ in range(8):
        found = step(found, found.flatten(1).sum(1), slope(found))
    z = torch.linalg.solve(matrix, x.flatten(2).transpose(1, 2)).transpose(1, 2)
    plain = Adam(0.3).start(8)
    for _ in range(8):
        own = (z @ matrix).view_as(x)
        z = plain(z, own.flatten(1).sum(1), slope(own).flatten(2) @ matrix)
    torch.testing.assert_close(found, (z @ matrix).view_as(x))


@pytest.mark.parametrize("optimiser", OPTIMISERS, ids=str)
def test_an_image_does_not_depend_on_the_others(optimiser: Optimiser) -> None:
    x = start()
    torch.testing.assert_close(run(optimiser, x, 6)[1:2], run(optimiser, x[1:2], 6), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("optimiser", OPTIMISERS, ids=str)
def test_it_goes_down(optimiser: Optimiser) -> None:
    x = start()
    assert float(run(optimiser, x, 200).abs().max()) < 0.05 * float(x.abs().max())
