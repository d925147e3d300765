"""Filters whose RMS stands out: those that dominate a layer, judged as the batch norm leaves them.

*Source*: Zeiler & Fergus (2013), section 3.1: "a few of them dominate"; any filter whose RMS exceeds 0.1 is brought
back to it. *Differs*: 0.1 belongs to the paper's inputs of about -128 to 128; here a filter is compared with its own
layer, and how many exceed 0.1 is said beside it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from backlight.studies.diagnosis.collect import Record
from backlight.studies.diagnosis.result import DiagnosisConfig, Finding
from backlight.studies.diagnosis.stages import Stage
from backlight.studies.diagnosis.verdicts import Outcome

PAPERS_LIMIT = 0.1
_LEAST_FILTERS = 8
_LEAST_SPREAD = 0.1
"""In natural logarithms: filters of which most have one RMS do not make a small difference stand out."""


def find_loud(record: Record, stage: Stage | None, config: DiagnosisConfig) -> Outcome:
    """Test each filter of a layer for an RMS far above the others'."""
    found, name = Outcome(), record.layer.name
    if stage is None:
        found.lack("loud", name, "several paths make this layer, so it has no filters of its own")
        return found
    look_at_rms(found, name, rms_of(stage.weight), stage.is_normalised, config)
    return found


def look_at_rms(
    found: Outcome, name: str, rms: NDArray[np.float64], is_normalised: bool, config: DiagnosisConfig
) -> None:
    """Add the tests of a layer's filters, given their RMS (c,) and whether a batch norm is folded into them."""
    if len(rms) < _LEAST_FILTERS:
        found.lack("loud", name, f"{len(rms)} filters are too few to say what is usual among them")
        return
    z, ratio = standing_out(rms)
    above = int((rms > PAPERS_LIMIT).sum())
    scale = "RMS, its batch norm folded in," if is_normalised else "RMS"
    found.add(
        "loud",
        name,
        len(rms),
        (
            Finding(
                kind="loud",
                layer=name,
                channels=(channel,),
                value=float(ratio[channel]),
                unit="factor",
                limit=config.loud,
                null="the layer's other filters: median and spread of the logarithms",
                says=f"its {scale} is {rms[channel]:.3g}, {ratio[channel]:.1f} times the layer's median; {above} of "
                f"{len(rms)} filters exceed the paper's {PAPERS_LIMIT}",
                p=float(stats.norm.sf(z[channel])),
                is_found=bool(ratio[channel] > config.loud),
            )
            for channel in range(len(rms))
        ),
    )


def rms_of(weight: Tensor) -> NDArray[np.float64]:
    """Return the RMS (c,) of filters (c, c_in, kh, kw).

    Example:
        >>> import torch
        >>> rms_of(torch.tensor([[3.0, 4.0], [0.0, 0.0]])[:, None, None]).round(3).tolist()
        [3.536, 0.0]
    """
    found: NDArray[np.float64] = weight.double().square().mean((1, 2, 3)).sqrt().cpu().numpy()
    return found


def standing_out(rms: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return by how many robust deviations each filter's log RMS lies above the median, and by which factor.

    *Convention*: around the median of the filters that are not zero, and by the spread of those above it: a first layer
    has many faint filters, which say nothing of how loud the others may be. The spread is the lesser of two: the root
    of the mean square without the filter itself, which a few usual filters far apart do not inflate, and the median
    deviation, which other loud filters do not. A filter of zeros gets -inf and 0.

    Example:
        >>> z, ratio = standing_out(np.array([1.0, 1.1, 0.9, 1.0, 10.0, 0.0]))
        >>> round(float(ratio[4]), 6), bool(z[4] > 20), float(ratio[5])
        (10.0, True, 0.0)
    """
    with np.errstate(divide="ignore"):
        logs = np.log(rms)
    known = logs[np.isfinite(logs)]
    if not len(known):
        return np.full(len(rms), -np.inf), np.zeros(len(rms))
    middle = float(np.median(known))
    upper = known[known >= middle] - middle  # the median itself is among an odd number of them
    without = (upper @ upper - np.where(logs >= middle, logs - middle, 0) ** 2) / max(len(upper) - 1, 1)
    spread = np.minimum(1.4826 * np.median(upper), np.sqrt(np.maximum(without, 0)))
    return (logs - middle) / np.maximum(spread, _LEAST_SPREAD), np.exp(logs - middle)
