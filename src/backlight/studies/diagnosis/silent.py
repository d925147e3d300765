"""Dead, sleeping and always-on maps: in how many images a map is above zero, with what the number of images allows.

No number of images proves that a map is dead. n images in which it is silent say, with a confidence of 95 %, that it
wakes in less than about 3 / n of such images (the rule of three; exactly 1 - 0.05^(1/n)).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, log

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from backlight.studies.diagnosis.collect import Record
from backlight.studies.diagnosis.result import DiagnosisConfig, Finding
from backlight.studies.diagnosis.stages import Stage
from backlight.studies.diagnosis.verdicts import Outcome
from backlight.studies.intervals import P_LIMIT, share_interval


def images_needed(rare: float) -> int:
    """Return how many images it takes to say that a map is above zero in less than a share of them.

    Example:
        >>> images_needed(0.05), images_needed(0.01)
        (59, 299)
    """
    return ceil(log(P_LIMIT) / log(1 - rare))


def find_silent(record: Record, stage: Stage | None, config: DiagnosisConfig) -> Outcome:
    """Test each map of a layer for being dead, sleeping or always on.

    The null of a dead or sleeping map: a map above zero in the share `rare` of the images, or more. The null of an
    always-on map: one that is zero somewhere in that share of the images, or more.

    A filter of zeros without a positive bias is dead for certain: its p is 0.
    """
    found, name, n, n_maps = Outcome(), record.layer.name, record.n_images, record.layer.n_maps
    if not record.layer.rectified:
        for kind in ("sleeping", "always_on"):
            found.lack(kind, name, "no rectifier makes this layer, so zero is no threshold of it")
    awake, certain = record.awake, _certainly_dead(stage, n_maps)
    say_too_few(found, name, n, config)
    if not record.layer.rectified:
        constant = record.maxima.max(0) == record.minima.min(0)
        found.add("dead", name, n_maps, (_constant(record, c, bool(constant[c])) for c in range(n_maps)))
        return found
    look_at_waking(found, name, awake.tolist(), certain.tolist(), n, config)
    found.add("always_on", name, n_maps, (_always_on(record, c, config) for c in range(n_maps)))
    return found


def _certainly_dead(stage: Stage | None, n_maps: int) -> NDArray[np.bool_]:
    """Return (c,) which filters are zeros without a positive bias."""
    if stage is None:
        return np.zeros(n_maps, bool)
    silent = (stage.weight.flatten(1) == 0).all(1) & (stage.bias <= 0)
    return np.asarray(silent.cpu())


def say_too_few(found: Outcome, layer: str, n: int, config: DiagnosisConfig) -> None:
    """Say that n images are too few to tell anything about silence, where they are."""
    if n < images_needed(config.rare):
        reason = (
            f"{n} images cannot tell a map that is silent from one above zero in {config.rare:.0%} of images; "
            f"give at least {images_needed(config.rare)}"
        )
        for kind in ("dead", "sleeping", "always_on"):
            found.lack(kind, layer, reason)


def look_at_waking(
    found: Outcome, layer: str, awake: Sequence[int], certain: Sequence[bool], n: int, config: DiagnosisConfig
) -> None:
    """Add the tests of maps for being dead or sleeping.

    Args:
        found: Where they are added.
        layer: The layer's name.
        awake: For each map in how many images it is above zero.
        certain: For each map whether its filter is zero.
        n: Number of images.
        config: How rare is rare.
    """
    maps = list(enumerate(zip(awake, certain, strict=True)))
    found.add("dead", layer, len(maps), (_dead(layer, c, k, n, sure, config) for c, (k, sure) in maps))
    found.add("sleeping", layer, len(maps), (_sleeping(layer, c, k, n, config) for c, (k, _) in maps if k))


def _dead(layer: str, channel: int, awake: int, n: int, is_certain: bool, config: DiagnosisConfig) -> Finding:
    _, high = share_interval(awake, n)
    text = (
        "its filter is zero and its bias not above zero: it can never wake"
        if is_certain
        else f"silent in all of {n} images: it wakes in less than {high:.2%} of such images"
    )
    return Finding(
        kind="dead",
        layer=layer,
        channels=(channel,),
        value=awake / n,
        unit="share",
        limit=config.rare,
        null=f"a map above zero in {config.rare:.0%} of the images",
        says=text,
        low=0.0,
        high=0.0 if is_certain else high,
        # of n images that each wake it with probability `rare`, none did
        p=0.0 if is_certain else float((1 - config.rare) ** n) if awake == 0 else 1.0,
        is_found=awake == 0,
    )


def _sleeping(layer: str, channel: int, awake: int, n: int, config: DiagnosisConfig) -> Finding:
    low, high = share_interval(awake, n)
    return Finding(
        kind="sleeping",
        layer=layer,
        channels=(channel,),
        value=awake / n,
        unit="share",
        limit=config.rare,
        null=f"a map above zero in {config.rare:.0%} of the images",
        says=f"above zero in {awake} of {n} images",
        low=low,
        high=high,
        p=float(stats.binom.cdf(awake, n, config.rare)),
        is_found=awake < config.rare * n,
    )


def _always_on(record: Record, channel: int, config: DiagnosisConfig) -> Finding:
    n = record.n_images
    full = int((record.minima[:, channel] > 0).sum())
    low, high = share_interval(full, n)
    return Finding(
        kind="always_on",
        layer=record.layer.name,
        channels=(channel,),
        value=full / n,
        unit="share",
        limit=1 - config.rare,
        null=f"a map that is zero somewhere in {config.rare:.0%} of the images",
        says=f"every unit is above zero in {full} of {n} images: the rectifier does nothing",
        low=low,
        high=high,
        p=float(stats.binom.sf(full - 1, n, 1 - config.rare)),
        is_found=full > (1 - config.rare) * n,
    )


def _constant(record: Record, channel: int, is_constant: bool) -> Finding:
    return Finding(
        kind="dead",
        layer=record.layer.name,
        channels=(channel,),
        value=0.0 if is_constant else 1.0,
        unit="share",
        limit=0.0,
        null="a map whose values differ",
        says=f"has one and the same value at all places of {record.n_images} images",
        is_found=is_constant,
    )
