"""Fourier transforms, and complex numbers as pairs of real ones: linear, and each value sees everything."""

from __future__ import annotations

import torch

from backlight.operators.kinds import linear_in_first
from backlight.operators.operator import Example, Operator, Origin, named

OPERATORS = (
    Operator(
        named(
            "fft_rfft2 fft_irfft2 fft_fft2 fft_ifft2 _fft_r2c _fft_c2r _fft_c2c fft_fftshift fft_ifftshift"
            " view_as_real view_as_complex"
        ),
        kind=linear_in_first,
        origin=Origin.ENTRIES,
        examples=(
            Example(lambda x: torch.fft.irfft2(torch.fft.rfft2(x) * 0.5)),
            Example(lambda x: torch.view_as_real(torch.fft.fft2(x)).sum(-1)),
        ),
    ),
)
