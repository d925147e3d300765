"""Near-duplicate maps: filters that point the same way, and activations that go together, against shuffled filters.

Both must hold. Filters alone do not tell: in two filters of a few entries a high cosine comes by chance. Activations
alone do not tell either: smooth images make many maps of a first layer alike. So the null is what filters with the same
entries in another order do on the same inputs.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from backlight.studies.diagnosis.collect import Record, correlations
from backlight.studies.diagnosis.result import DiagnosisConfig, Finding
from backlight.studies.diagnosis.stages import Stage
from backlight.studies.diagnosis.verdicts import Outcome

_N_SHUFFLES = 4
_ALONE = 0.98
"""From which correlation on activations alone make two maps near-duplicates, where there are no filters to compare."""
_MOST = 1 - 1e-9


def find_duplicates(
    record: Record, stage: Stage | None, below: Tensor | None, config: DiagnosisConfig
) -> Outcome:
    """Test for each map of a layer whether the map most like it is a near-duplicate.

    Args:
        record: What was seen of the layer.
        stage: Its filters; None where it is not one convolution's.
        below: (n, c_in, h, w) what the convolution reads for a few images; None without a stage.
        config: From where on maps are alike.
    """
    found, name = Outcome(), record.layer.name
    if record.layer.n_maps < 2:
        found.lack("duplicate", name, "the layer has one map")
        return found
    alike, limit = record.correlations.copy(), _ALONE
    null: NDArray[np.float64] | None = None
    if stage is not None and stage.groups == 1 and below is not None:
        # a pair is as alike as the lesser of the two measures says
        alike, limit = np.fmin(alike, cosines(stage.weight)), config.alike
        alike[np.isnan(record.correlations)] = np.nan
        null = _null(stage, below, config.seed)
    np.fill_diagonal(alike, np.nan)
    alive = ~np.isnan(alike).all(1)
    tests = []
    for channel in np.flatnonzero(alive):
        other = int(np.nanargmax(alike[channel]))
        value = float(alike[channel, other])
        tests.append(_finding(record, (int(channel), other), value, limit, null))
    found.add("duplicate", name, record.layer.n_maps, tests)
    return found


def cosines(weight: Tensor) -> NDArray[np.float64]:
    """Return the cosines (c, c) of filters (c, c_in, kh, kw); NaN of a filter of zeros.

    Example:
        >>> cosines(torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])[:, :, None, None])[0].tolist()
        [1.0, 1.0, 0.0]
    """
    flat = weight.flatten(1).double().cpu().numpy()
    length = np.linalg.norm(flat, axis=1)
    unit = flat / np.where(length > 0, length, np.nan)[:, None]
    found: NDArray[np.float64] = unit @ unit.T
    return found


def _null(stage: Stage, below: Tensor, seed: int) -> NDArray[np.float64]:
    """Return how alike the most alike map is of each of many shuffled filters."""
    generator = torch.Generator().manual_seed(seed)
    flat, found = stage.weight.flatten(1), []
    for _ in range(_N_SHUFFLES):
        # each filter's own entries in a random order of its own
        order = torch.rand(flat.shape, generator=generator).argsort(1).to(flat.device)
        weight = flat.gather(1, order).reshape(stage.weight.shape)
        maps = stage.respond(below, weight).relu().transpose(0, 1).flatten(1).double()
        alike = correlations(maps.shape[1], maps.sum(1).cpu().numpy(), (maps @ maps.T).cpu().numpy())
        alike = np.where(np.isnan(alike), np.nan, np.fmin(alike, cosines(weight)))
        np.fill_diagonal(alike, np.nan)
        found.append(np.nanmax(alike[~np.isnan(alike).all(1)], 1, initial=-1))
    return np.concatenate(found)


def _finding(
    record: Record,
    pair: tuple[int, int],
    value: float,
    limit: float,
    null: NDArray[np.float64] | None,
) -> Finding:
    """Return the test of a map and the one most like it."""
    p, words = None, "activations of different maps"
    if null is not None and len(null) > 1:
        # the largest of many is of Gumbel's distribution; Fisher's z keeps a correlation's spread the same at both ends
        z = np.arctanh(np.clip(null, -_MOST, _MOST))
        scale = max(float(z.std()) * np.sqrt(6) / np.pi, 1e-3)
        start = float(z.mean()) - np.euler_gamma * scale
        p = float(stats.gumbel_r.sf(np.arctanh(np.clip(value, -_MOST, _MOST)), start, scale))
        words = f"the most alike of shuffled filters, {np.tanh(z.mean()):.2f} on average"
    return Finding(
        kind="duplicate",
        layer=record.layer.name,
        channels=pair,
        value=value,
        unit="correlation",
        limit=limit,
        null=words,
        says=f"maps {pair[0]} and {pair[1]} do the same: at least {value:.3f} alike in filter and activations"
        if null is not None
        else f"maps {pair[0]} and {pair[1]} do the same: activations correlate by {value:.3f}",
        p=p,
        is_found=value > limit,
    )
