"""Fourier transforms, as sums of cosines and sines; what multiplies frequencies by real weights is its own adjoint."""

import numpy as np
import pytest
import torch

from backlight.operators.ruleset import DECONVNET
from replicas.heads import Cases, check_replica, constant
from replicas.linear import RULES, check_adjoint, check_classes

LAYERS = {
    "shifted frequencies": lambda x: (
        torch.fft.ifft2(
            torch.fft.ifftshift(torch.fft.fftshift(torch.fft.fft2(x), (2, 3)) * constant(6, 7), (2, 3))
        ).real
    ),
    "fft2": lambda x: torch.view_as_real(torch.fft.fft2(x)),
    "rfft2 and back": lambda x: torch.fft.irfft2(torch.fft.rfft2(x) * constant(6, 4), s=(6, 7)),
}
ROW, COL = np.arange(6), np.arange(7)
# (6, 7, 6, 7): the angle of frequency (k, l) at place (row, col)
ANGLE = (
    2
    * np.pi
    * (np.multiply.outer(ROW, ROW)[:, None, :, None] / 6 + np.multiply.outer(COL, COL)[None, :, None, :] / 7)
)


def transformed(x, r):
    """The real part of frequency (k, l) is the sum of x cos(angle), the imaginary one that of -x sin(angle)."""
    real, imaginary = r[..., 0], r[..., 1]
    return np.einsum("klhw,nckl->nchw", np.cos(ANGLE), real) - np.einsum(
        "klhw,nckl->nchw", np.sin(ANGLE), imaginary
    )


def weighted(weights):
    """Return the replica of a product with a weight for each frequency, of which the real part is taken.

    Place p gets of place q the sum of weight cos(angle of p - q) / 42, the same as q gets of p.
    """

    def replica(x, r):
        below = np.zeros(x.shape)
        for h, w, i, j in np.ndindex(6, 7, 6, 7):
            kernel = (weights * np.cos(ANGLE[:, :, (h - i) % 6, (w - j) % 7])).sum() / 42
            below[:, :, h, w] += kernel * r[:, :, i, j]
        return below

    return replica


def in_the_middle(weights):
    """Return weights in the order of frequencies 0, 1, ..., -1, of weights with frequency 0 in the middle."""
    found = np.empty((6, 7))
    for k, m in np.ndindex(6, 7):
        found[(k - 3) % 6, (m - 3) % 7] = weights[k, m]
    return found


def of_half(weights):
    """Return all weights (6, 7), of those of columns 0 to 3: column -l counts as column l does."""
    return np.stack([weights[:, m] if m < 4 else weights[-ROW % 6, 7 - m] for m in COL], 1)


REPLICAS = {
    "shifted frequencies": weighted(in_the_middle(constant(6, 7).numpy())),
    "fft2": transformed,
    "rfft2 and back": weighted(of_half(constant(6, 4).numpy())),
}

CASES = Cases(LAYERS)


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("name", LAYERS)
def test_adjoint(name, rules):
    check_adjoint(CASES, name, RULES[rules])


def test_every_operator_on_the_way_is_of_the_linear_class():
    check_classes(CASES)


@pytest.mark.parametrize("name", REPLICAS)
def test_replica(name):
    check_replica(CASES, name, REPLICAS[name], DECONVNET)
