"""Checkerboards: energy of the projections at the frequencies of the strides below, against their neighbours'.

A stride is projected back to every s-th pixel. Where kernels cover these unevenly, the picture has a grid of that
period that the image does not have.

*Source*: Odena et al. (2016), *Deconvolution and Checkerboard Artifacts*; Zeiler & Fergus (2013), Fig. 6.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from backlight.network import Network
from backlight.studies.diagnosis.collect import Record
from backlight.studies.diagnosis.inputs import Inputs
from backlight.studies.diagnosis.pictures import can_project, project_hits, strongest_images
from backlight.studies.diagnosis.result import DiagnosisConfig, Finding
from backlight.studies.diagnosis.verdicts import Outcome

_HITS_EACH = 4
_LEAST_PERIODS = 4
"""Periods of a grid that a projection must hold along each axis."""
_TINY = 1e-12


def find_checkerboards(
    net: Network, inputs: Inputs, record: Record, periods: Sequence[int], config: DiagnosisConfig
) -> Outcome:
    """Test for each period of a grid whether the projections of a layer have more energy at it than beside it.

    The null: `grid` times as much energy as at the neighbouring frequencies. A test takes the mean over the hits of
    each of a few maps drawn at random, and its p is that of a t test of the logarithms over the maps.

    Args:
        net: The captured network.
        inputs: The images.
        record: What was seen of the layer.
        periods: In pixels: what the strides below the layer multiply to.
        config: How many maps are projected, and from which factor on a grid is a finding.
    """
    found, name = Outcome(), record.layer.name
    field = record.layer.receptive_field
    side = min(net.input_shape[1:]) if field is None else min(*field.size, *net.input_shape[1:])
    fitting = [period for period in periods if 1 < period <= side // _LEAST_PERIODS]
    reason = None if fitting else _why_not(periods, side)
    reason = reason or can_project(net, record)
    if reason is not None:
        found.lack("checkerboard", name, reason)
        return found
    alive = np.flatnonzero((record.maxima > 0).sum(0) >= _HITS_EACH)
    drawn = np.random.default_rng([config.seed, *name.encode()]).permutation(alive)[: config.n_projected]
    if len(drawn) < 3:
        found.lack("checkerboard", name, "fewer than three maps are above zero in enough images")
        return found
    hits = [(int(c), int(i)) for c in np.sort(drawn) for i in strongest_images(record, int(c), _HITS_EACH)]
    projections = project_hits(net, inputs, record, hits)
    tests = []
    for period in fitting:
        values = np.array([grid_energy(own, period) for own in projections])
        by_map = np.array(
            [np.log(values[[h[0] == c for h in hits]].mean() + _TINY) for c in np.unique(drawn)]
        )
        tests.append(_grid(record, period, by_map, config))
    found.add("checkerboard", name, record.layer.n_maps, tests)
    return found


def _why_not(periods: Sequence[int], side: int) -> str:
    if not any(period > 1 for period in periods):
        return "no stride lies below it"
    return f"its fields of {side} pixels hold too few periods of a grid of {min(p for p in periods if p > 1)}"


def grid_energy(projection: NDArray[np.floating], period: int) -> float:
    """Return the energy of a projection (h, w, c) at a grid's frequency over that at the frequencies beside it.

    *Convention*: along rows and columns apart, the larger of both. Beside it are the frequencies from 2/3 to 4/3 of the
    grid's, those left out that a Hann window mixes with it. 1 where the projection is zero.

    Example:
        >>> flat = np.random.default_rng(0).normal(size=(64, 64, 1))
        >>> grid = flat + 3 * (np.arange(64) % 4 == 0)[:, None, None]
        >>> grid_energy(flat, 4) < 3 < 10 < grid_energy(grid, 4)
        True
    """
    return max(_along(projection, period, axis) for axis in (0, 1))


def _along(projection: NDArray[np.floating], period: int, axis: int) -> float:
    length = projection.shape[axis] // period * period
    kept = np.moveaxis(projection, axis, 0)[:length].astype(np.float64)
    kept = (kept - kept.mean(0)) * np.hanning(length + 1)[:length, None, None]
    power = (np.abs(np.fft.rfft(kept, axis=0)) ** 2).sum((1, 2))
    at = length // period  # cycles in the length
    beside = np.arange(max(1, round(at * 2 / 3)), min(len(power), round(at * 4 / 3) + 1))
    beside = beside[abs(beside - at) > 1]
    usual = power[beside].mean() if len(beside) else 0.0
    return float(power[at] / usual) if usual > 0 else 1.0


def _grid(record: Record, period: int, logs: NDArray[np.float64], config: DiagnosisConfig) -> Finding:
    mean, error = float(logs.mean()), max(float(logs.std(ddof=1)) / np.sqrt(len(logs)), 1e-9)
    reach = float(stats.t.ppf(0.975, len(logs) - 1)) * error
    return Finding(
        kind="checkerboard",
        layer=record.layer.name,
        channels=(),
        value=float(np.exp(mean)),
        unit="factor",
        limit=config.grid,
        null=f"{config.grid:g} times as much energy as at the frequencies beside it",
        says=f"projections have {np.exp(mean):.1f} times as much energy at a period of {period} pixels as beside it",
        low=float(np.exp(mean - reach)),
        high=float(np.exp(mean + reach)),
        p=float(stats.t.sf((mean - np.log(config.grid)) / error, len(logs) - 1)),
        is_found=bool(np.exp(mean) > config.grid),
    )
