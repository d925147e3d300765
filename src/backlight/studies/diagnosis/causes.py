"""Maps that several causes share: two clusters among what drives a map's strongest hits, against one.

*Source*: the statistic and its null are SigClust's (Liu et al., 2008): the share of the variance that two means leave,
against sets drawn from one normal distribution with the same covariance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from backlight.studies.diagnosis.collect import Record
from backlight.studies.diagnosis.result import DiagnosisConfig, Finding
from backlight.studies.diagnosis.stages import Stage
from backlight.studies.diagnosis.verdicts import Outcome

_N_DRAWS = 99
_ROUNDS = 10
_ROUNDING = 1e-9
LEAST_HITS = 12
LEAST_SHARE = 0.15
"""Share of the hits that the smaller cluster must have."""


@dataclass(frozen=True, eq=False)
class Split:
    """Two clusters of hits.

    Attributes:
        explained: Share of the variance that they explain, 0 to 1.
        second: (hits,) which hits are in the second cluster.
    """

    explained: float
    second: NDArray[np.bool_]


def find_causes(
    record: Record, stage: Stage, shares: list[NDArray[np.float32]], config: DiagnosisConfig
) -> Outcome:
    """Test for each map of a layer whether two clusters explain what drives its hits better than one.

    Args:
        record: What was seen of the layer.
        stage: Its filters.
        shares: For each map what drives its hits, (hits, c_in), from `drivers`.
        config: How much of the variance two clusters must explain.
    """
    found, name, tests = Outcome(), record.layer.name, []
    for channel, own in enumerate(shares):
        if len(own) >= LEAST_HITS:
            tests.append(_cause(record, stage, channel, own, config))
    if not tests:
        reason = f"no map has {LEAST_HITS} hits; give more images"
        found.lack("causes", name, reason)
        return found
    found.add("causes", name, len(tests), tests)
    return found


def _cause(
    record: Record, stage: Stage, channel: int, shares: NDArray[np.float32], config: DiagnosisConfig
) -> Finding:
    points = shares.astype(np.float64)
    split = two_clusters(points)
    n_second = int(min(split.second.sum(), (~split.second).sum()))
    is_split = split.explained > config.split and n_second >= LEAST_SHARE * len(points)
    # the null is drawn only where it can matter: elsewhere the value is below its limit
    p = one_cluster_p(points, split.explained, config.seed) if is_split else 1.0
    names = [_main(shares[own], stage) for own in (~split.second, split.second)]
    return Finding(
        kind="causes",
        layer=record.layer.name,
        channels=(channel,),
        value=split.explained,
        unit="share",
        limit=config.split,
        null="hits drawn from one normal distribution with the same covariance",
        says=f"{len(points) - int(split.second.sum())} hits are driven by {names[0]}, {int(split.second.sum())} by "
        f"{names[1]}",
        p=p,
        is_found=is_split,
    )


def _main(shares: NDArray[np.float32], stage: Stage) -> str:
    """Return what drives some hits most, in words."""
    mean = shares.mean(0) if len(shares) else np.zeros(shares.shape[1])
    best = int(mean.argmax())
    if stage.is_first:
        return f"{mean[best]:.0%} one pixel of the filter"
    return f"map {best} below ({mean[best]:.0%})"


def two_clusters(points: NDArray[np.float64]) -> Split:
    """Return the two clusters of points (n, d): 2-means, begun on both sides of the first principal component's median.

    Points that differ by rounding alone are one cluster, of which two explain nothing.

    Example:
        >>> found = two_clusters(np.array([[0.0], [0.1], [5.0], [5.1]]))
        >>> found.explained > 0.99, bool(found.second[0] == found.second[1] != found.second[2])
        (True, True)
    """
    if ((points - points.mean(0)) ** 2).sum() <= _ROUNDING * (points**2).sum():
        return Split(0.0, np.zeros(len(points), bool))
    explained, second = _two_means(_coordinates(points)[None])
    return Split(float(explained[0]), second[0])


def one_cluster_p(points: NDArray[np.float64], explained: float, seed: int) -> float:
    """Return how probable it is that two clusters explain so much of the variance of points from one distribution.

    *Convention*: the draws' mean and spread give a normal distribution, whose tail is the p: so it can be smaller than
    one over the number of draws.
    """
    spread = _coordinates(points).std(0)
    drawn = np.random.default_rng(seed).standard_normal((_N_DRAWS, len(points), len(spread))) * spread
    null, _ = _two_means(drawn - drawn.mean(1, keepdims=True))
    return float(stats.norm.sf((explained - null.mean()) / max(float(null.std(ddof=1)), 1e-9)))


def _coordinates(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return centred points (n, d) along their principal components, the largest first: no more than n of them."""
    left, scale, _ = np.linalg.svd(points - points.mean(0), full_matrices=False)
    found: NDArray[np.float64] = left * scale
    return found[:, scale > 1e-9 * max(float(scale[0]), 1e-30)] if len(scale) else found


def _two_means(sets: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return of centred sets (b, n, d) what two means explain, (b,), and which points are in the second, (b, n)."""
    if sets.shape[2] == 0:  # all points are one
        return np.zeros(len(sets)), np.zeros(sets.shape[:2], bool)
    # the first principal component of each set, from its (d, d) scatter
    _, vectors = np.linalg.eigh(sets.transpose(0, 2, 1) @ sets)
    along = (sets @ vectors[:, :, -1:])[..., 0]
    second = along > np.median(along, 1, keepdims=True)
    total = (sets**2).sum((1, 2))
    for _ in range(_ROUNDS):
        means, sizes = _means(sets, second)
        # a point goes to the nearer mean: (x - m0)^2 > (x - m1)^2
        middle = (means[:, 1] ** 2 - means[:, 0] ** 2).sum(1) / 2
        nearer = (sets @ (means[:, 1] - means[:, 0])[..., None])[..., 0] > middle[:, None]
        if (nearer == second).all():
            break
        second = nearer
    means, sizes = _means(sets, second)
    # of a centred set what the means explain is the sum of their squares, each as often as it has points
    between = (sizes * (means**2).sum(2)).sum(1)
    return between / np.maximum(total, 1e-30), second


def _means(
    sets: NDArray[np.float64], second: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the means (b, 2, d) of both clusters and how many points each has, (b, 2)."""
    member = np.stack([~second, second], 1).astype(np.float64)  # (b, 2, n)
    sizes = member.sum(2)
    return member @ sets / np.maximum(sizes, 1)[..., None], sizes
