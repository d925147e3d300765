"""Missing frequencies: in which bands the filters of the first layer have their energy, against shuffled filters.

*Source*: Zeiler & Fergus (2013), section 4.1: AlexNet's first filters are "a mix of extremely high and low frequency
information, with little coverage of the mid frequencies". *Differs*: a number for each band instead of the eye.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backlight.studies.diagnosis.result import DiagnosisConfig, Finding
from backlight.studies.diagnosis.stages import Stage
from backlight.studies.diagnosis.verdicts import Outcome
from backlight.studies.intervals import mean_interval

BANDS = ("low", "mid", "high")
EDGES = (1 / 6, 1 / 3)
"""Cycles per pixel between the bands; the highest is 1/2 along an axis."""

_SIZE, _LEAST_KERNEL, _LEAST_FILTERS = 32, 3, 8
_MISSING = 0.25
"""A band is missing where the filters have less than this share of what shuffled filters have in it."""
_N_SHUFFLES = 99
_SEEN = 0.001
"""Share of the images' energy that a band must have, below which a network has nothing to see in it."""


def find_missing_frequencies(stage: Stage | None, inputs: Tensor, config: DiagnosisConfig) -> Outcome:
    """Test for each band whether the first layer's filters leave it out, though the images have energy in it.

    The null: the same filters with their entries shuffled, each in an order of its own.

    Args:
        stage: The layer that reads the image; None where no convolution does.
        inputs: (n, c, h, w) some images.
        config: The seed of the shuffles.
    """
    found = Outcome()
    if stage is None:
        found.lack("frequencies", None, "no layer is made from the pixels by one convolution")
        return found
    look_at_bands(found, stage.layer.name, stage.weight, image_bands(inputs), config)
    return found


def look_at_bands(
    found: Outcome, name: str, weight: Tensor, seen: NDArray[np.float64], config: DiagnosisConfig
) -> None:
    """Add the tests of the bands of filters (c, c_in, kh, kw), given the images' shares (bands,)."""
    n_filters, _, height, width = weight.shape
    if min(height, width) < _LEAST_KERNEL or n_filters < _LEAST_FILTERS:
        reason = f"{n_filters} filters of {height}x{width} have no bands to tell apart"
        found.lack("frequencies", name, reason)
        return
    shares = band_shares(weight)
    shuffled = np.stack([_shuffled(weight, config.seed + i) for i in range(_N_SHUFFLES)])  # (shuffles, bands)
    tests = [
        _band(name, band, shares[:, band], shuffled[:, band], float(seen[band])) for band in range(len(BANDS))
    ]
    found.add("frequencies", name, n_filters, tests)


def band_shares(weight: Tensor) -> NDArray[np.float64]:
    """Return the share of each filter's energy in each band, (c, bands); filters of zeros are left out.

    Example:
        >>> stripes = torch.tensor([1.0, -1.0, 1.0]).expand(1, 1, 3, 3)
        >>> int(band_shares(stripes).argmax())
        2
    """
    power = torch.fft.fft2(weight.float(), (_SIZE, _SIZE)).abs().square().sum(1)  # (c, h, w)
    own = torch.stack([(power * band).sum((1, 2)) for band in _bands(_SIZE, _SIZE, weight.device)], 1)
    total = own.sum(1, keepdim=True)
    kept = total[:, 0] > 0
    found: NDArray[np.float64] = (own[kept] / total[kept]).double().cpu().numpy()
    return found


def image_bands(inputs: Tensor) -> NDArray[np.float64]:
    """Return the share (bands,) of the images' energy in each band, each image less its mean, under a window."""
    height, width = inputs.shape[2:]
    window = torch.hann_window(height, device=inputs.device)[:, None] * torch.hann_window(
        width, device=inputs.device
    )
    centred = inputs - inputs.mean((2, 3), keepdim=True)
    power = torch.fft.fft2(centred.float() * window).abs().square().sum((0, 1))
    own = torch.stack([(power * band).sum() for band in _bands(height, width, inputs.device)])
    found: NDArray[np.float64] = (own / own.sum().clamp(min=1e-30)).double().cpu().numpy()
    return found


def _bands(height: int, width: int, device: torch.device) -> list[Tensor]:
    """Return which frequencies (h, w) each band has."""
    rows, cols = (torch.fft.fftfreq(size, device=device) for size in (height, width))
    radius = torch.hypot(rows[:, None], cols)
    return [radius < EDGES[0], (radius >= EDGES[0]) & (radius < EDGES[1]), radius >= EDGES[1]]


def _shuffled(weight: Tensor, seed: int) -> NDArray[np.float64]:
    """Return the mean share in each band, (bands,), of filters whose entries are shuffled."""
    flat = weight.flatten(1)
    order = torch.rand(flat.shape, generator=torch.Generator().manual_seed(seed)).argsort(1).to(flat.device)
    found: NDArray[np.float64] = band_shares(flat.gather(1, order).reshape(weight.shape)).mean(0)
    return found


def _band(
    name: str, band: int, shares: NDArray[np.float64], null: NDArray[np.float64], seen: float
) -> Finding:
    """Return the test of a band."""
    usual, own = float(null.mean()), mean_interval(shares)
    value = (own.mean or 0.0) / usual
    low, high = (None if end is None else end / usual for end in (own.low, own.high))
    return Finding(
        kind="frequencies",
        layer=name,
        channels=(),
        value=value,
        unit="factor",
        limit=_MISSING,
        null=f"shuffled filters, which have {usual:.0%} of their energy there",
        says=f"{own.mean or 0:.0%} of the filters' energy is in the {BANDS[band]} frequencies, where shuffled filters "
        f"have {usual:.0%} and the images {seen:.1%}",
        low=low,
        high=high,
        p=float((1 + (null <= (own.mean or 0.0)).sum()) / (1 + len(null))),
        is_found=value < _MISSING and (high is None or high < 1) and seen > _SEEN,
    )
