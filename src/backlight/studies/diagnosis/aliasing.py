"""Aliasing: how much of what a stride passes on is folded, as it is and after a low-pass filter.

A map that is sampled every s places carries frequencies up to 1 / (2 s). What lies above is not lost: it appears as a
lower frequency, a pattern that the image does not have. The map before the stride tells how much that is.

*Source*: Zeiler & Fergus (2013), section 4.1 and Fig. 6, who saw it in the projections of AlexNet's second layer; Zhang
(2019), *Making Convolutional Networks Shift-Invariant Again*, for the filter. *Differs*: measured in the maps.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from backlight.network import Layer
from backlight.studies.diagnosis.result import DiagnosisConfig, Finding
from backlight.studies.diagnosis.strides import Stride, Strides
from backlight.studies.diagnosis.verdicts import Outcome
from backlight.studies.intervals import mean_interval

_LEAST_IMAGES = 4
_STEP = 8
_LEAST_SIZE = 4
"""Strides that must fit into a map along each axis."""


def find_aliasing(strides: Strides, inputs: Tensor, config: DiagnosisConfig) -> Outcome:
    """Test for each stride whether it folds more of the energy than it passes on as it is.

    The null: a stride that folds the share `folded` of the energy. White noise would have 1 - 1 / s^2 of it folded.

    Args:
        strides: The network's strides.
        inputs: (n, c, h, w) some images.
        config: From which share on a stride aliases.
    """
    found = Outcome()
    if not strides.found:
        found.lack("aliased", None, "the network has no stride")
        return found
    if len(inputs) < _LEAST_IMAGES:
        found.lack(
            "aliased",
            None,
            f"{len(inputs)} images are too few for an interval; give at least {_LEAST_IMAGES}",
        )
        return found
    parts, sizes = zip(*_shares(strides, inputs), strict=True)
    shares, by_layer = np.concatenate(parts), dict[Layer, list[int]]()  # (n, strides, 2)
    for i, (own, size) in enumerate(zip(strides.found, sizes[0], strict=True)):
        if size < _LEAST_SIZE * max(own.step):
            reason = f"its stride of {max(own.step)} moves over {size} places, too few for a spectrum"
            found.lack("aliased", own.layer.name, reason)
        else:
            by_layer.setdefault(own.layer, []).append(i)
    for layer, mine in by_layer.items():
        tests = [_aliasing(strides.found[i], shares[:, i, 0], shares[:, i, 1], config) for i in mine]
        found.add("aliased", layer.name, layer.n_maps, tests)
    return found


def _shares(strides: Strides, inputs: Tensor) -> Iterator[tuple[NDArray[np.float64], list[int]]]:
    """Yield of some images at a time the shares that each stride folds, as it is and low-passed, (n, strides, 2).

    With it goes for each stride the lesser size of the maps that it moves over.
    """
    for part in torch.split(inputs, _STEP):
        dense = strides.dense(part)
        found = [
            torch.stack(folded_shares(maps, own.step), -1)
            for own, maps in zip(strides.found, dense, strict=True)
        ]
        yield torch.stack(found, 1).cpu().numpy(), [min(maps.shape[2:]) for maps in dense]


def folded_shares(maps: Tensor, step: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return of maps (n, c, h, w) the shares of the energy that a stride folds, (n,): as they are, and low-passed.

    *Convention*: each map less its mean, under a Hann window so that its edges do not count as high frequencies. The
    low-pass filter is the binomial one of 2 s - 1 taps for a stride of s: 1 2 1 for 2. NaN of constant maps.

    Example:
        >>> noise = torch.randn(1, 8, 64, 64, generator=torch.Generator().manual_seed(0))
        >>> [round(float(own), 1) for own in folded_shares(noise, (2, 2))]
        [0.7, 0.1]
    """
    height, width = maps.shape[2:]
    window = torch.hann_window(height, device=maps.device)[:, None] * torch.hann_window(
        width, device=maps.device
    )
    power = torch.fft.fft2((maps - maps.mean((2, 3), keepdim=True)).float() * window).abs().square().sum(1)
    power[:, 0, 0] = 0  # what the window makes of the mean
    folded, passed = torch.zeros_like(power[0], dtype=torch.bool), torch.ones_like(power[0])
    for axis, (size, own) in enumerate(zip((height, width), step, strict=True)):
        frequency = torch.fft.fftfreq(size, device=maps.device).abs()
        shape = (-1, 1) if axis == 0 else (1, -1)
        folded |= (frequency > 1 / (2 * own)).reshape(shape)
        # of a binomial filter of 2 s - 1 taps the response is cos(pi f)^(2 s - 2), of the energy its square
        passed = passed * torch.cos(torch.pi * frequency).pow(4 * (own - 1)).reshape(shape)
    as_is = (power * folded).sum((1, 2)) / power.sum((1, 2))
    low_passed = (power * passed * folded).sum((1, 2)) / (power * passed).sum((1, 2))
    return as_is.double(), low_passed.double()


def _aliasing(
    stride: Stride, as_is: NDArray[np.float64], low_passed: NDArray[np.float64], config: DiagnosisConfig
) -> Finding:
    """Return the test of a stride."""
    own, filtered = mean_interval(as_is), mean_interval(low_passed)
    value, step = own.mean or 0.0, max(stride.step)
    known = as_is[~np.isnan(as_is)]
    p = 1.0
    if len(known) > 1:
        error = max(float(known.std(ddof=1)) / np.sqrt(len(known)), 1e-9)
        p = float(stats.t.sf((value - config.folded) / error, len(known) - 1))
    noise = 1 - 1 / (stride.step[0] * stride.step[1])
    return Finding(
        kind="aliased",
        layer=stride.layer.name,
        channels=(),
        value=value,
        unit="share",
        limit=config.folded,
        null=f"a stride that folds {config.folded:.0%}; of white noise {noise:.0%} would be folded",
        says=f"the stride of {step} ({stride.operator}) folds {value:.0%} of the energy; "
        f"{filtered.mean or 0:.0%} after a low-pass filter",
        low=own.low,
        high=own.high,
        p=p,
        is_found=value > config.folded,
    )
