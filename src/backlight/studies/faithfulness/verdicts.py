"""Verdicts: what the falls of the activation say about a projection, compared with those of its controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from backlight.studies.faithfulness.scores import CENTRE, OTHER_IMAGE, OTHER_MAP, RANDOM, SOBEL, TURNED
from backlight.studies.intervals import (
    P_LIMIT,
    Interval,
    false_discoveries,
    holm,
    mean_interval,
    sign_flip_p,
)

_NAMES = {
    TURNED: "its own mask turned",
    CENTRE: "a disc at the centre",
    RANDOM: "random pixels",
    SOBEL: "edges",
    OTHER_MAP: "another map",
    OTHER_IMAGE: "another hit",
}


@dataclass(frozen=True)
class Gain:
    """By how much covering the pixels of a projection costs more of the activation than covering others.

    Attributes:
        interval: The mean difference of the falls, with its 95 % t interval.
        p: Two-sided p of the exact sign-flip test, corrected for the tests made with it; None of nothing to compare.
    """

    interval: Interval
    p: float | None

    @property
    def is_won(self) -> bool:
        """Whether the projection is surely better."""
        return self.p is not None and self.p <= P_LIMIT and (self.interval.mean or 0) > 0

    @property
    def is_lost(self) -> bool:
        """Whether the projection is surely worse."""
        return self.p is not None and self.p <= P_LIMIT and (self.interval.mean or 0) < 0


@dataclass(frozen=True)
class Verdict:
    """How a projection compares with its controls, and with other rule sets.

    Attributes:
        falls: Mean fall of the activation by method, the projection's first; None where there is nothing to average.
        gains: What it gains over each control that is there, the turned mask first.
        rivals: What it gains over the other rule sets.
        n: Number of samples.
        p_all: p of its being better than every control; None where there is none.
    """

    falls: dict[str, float | None]
    gains: dict[str, Gain]
    rivals: dict[str, Gain]
    n: int
    p_all: float | None

    @property
    def is_strong(self) -> bool:
        """Whether it surely tells more than its position does: it beats its own mask turned, or all controls."""
        return self.gains[TURNED].is_won if TURNED in self.gains else self.beats_all

    @property
    def beats_all(self) -> bool:
        """Whether it surely beats every control."""
        return self.p_all is not None and self.p_all <= P_LIMIT

    @property
    def equal(self) -> tuple[str, ...]:
        """The controls that cannot be told apart from it."""
        return tuple(name for name, gain in self.gains.items() if not (gain.is_won or gain.is_lost))

    @property
    def better(self) -> tuple[str, ...]:
        """The controls that do better."""
        return tuple(name for name, gain in self.gains.items() if gain.is_lost)

    @property
    def text(self) -> str:
        """The verdict in words, with the number of samples and p over the turned mask, corrected."""
        return f"{'; '.join(self._parts())} ({self._numbers()})"

    def _parts(self) -> list[str]:
        parts = (
            [*self._direction(), *([] if self.beats_all else self._others())]
            if can_tell(self.n, len(self.gains))
            else ["too few to tell"]
        )
        better = [name for name, gain in self.rivals.items() if gain.is_lost]
        if better:
            parts.append(f"{_listed(better)} {'is' if len(better) == 1 else 'are'} better")
        return parts

    def _direction(self) -> list[str]:
        """Return what the comparison with the turned mask and with the disc says: direction, and distance."""
        if self.beats_all:
            return ["better than every control"]
        turned, centre = self.gains.get(TURNED), self.gains.get(CENTRE)
        if turned is None or not turned.is_won:
            return []
        if centre is not None and centre.is_lost:
            return ["right direction, mass too far out"]
        return ["right direction"]

    def _others(self) -> list[str]:
        groups = (("worse than", self.better), ("not surely better than", self.equal))
        return [f"{words} {_listed([_NAMES.get(n, n) for n in names])}" for words, names in groups if names]

    def _numbers(self) -> str:
        p = self.gains[TURNED].p if TURNED in self.gains and can_tell(self.n, len(self.gains)) else None
        return f"n = {self.n}" if p is None else f"n = {self.n}, p = {p:.2g}"


def can_tell(n: int, n_tests: int) -> bool:
    """Return whether an exact sign-flip test of n samples can have a p of 0.05 or less, among several tests.

    Example:
        >>> can_tell(3, 1), can_tell(9, 6)
        (False, True)
    """
    smallest: float = 2 / 2**n
    return smallest * max(n_tests, 1) <= P_LIMIT


def judge(
    methods: Sequence[str], falls: NDArray[np.floating], controls: Sequence[str], seed: int = 0
) -> Verdict:
    """Return the verdict on the first method.

    Args:
        methods: What chose the pixels.
        falls: (n, methods) fall of the activation for n independent samples (hits of a map, or maps of a layer); NaN
            where a control is missing.
        controls: Which of the methods are controls; the others are rule sets.
        seed: Random seed of the tests of many samples.

    *Convention*: a control counts as beaten at p <= 0.05 of the exact sign-flip test of the differences. The turned
    mask, the fair rival, is a question of its own; the other controls are corrected by Holm for their number, and so
    are, apart from them, the rule sets. So under chance alone at most one verdict in 20 claims a direction, and at most
    one in 20 any other difference. To be better than every control all tests must pass, so the largest p of them is the
    claim's own, without a correction (the intersection-union test, Berger 1982).

    Example:
        >>> falls = np.linspace(0.7, 0.9, 9)[:, None] + [0, 0, -0.1] + np.outer(np.arange(9) % 2 - 0.44, [0, 0.1, 0])
        >>> judge(["deconvnet", "centre", "random"], falls, ["centre", "random"]).text
        'not surely better than a disc at the centre (n = 9)'
    """
    gains = {
        # differences within a sample, so that what makes a hit easy or hard to cover cancels out
        name: _gain(falls[:, 0] - falls[:, i], seed)
        for i, name in enumerate(methods)
        if i
    }
    gains = {name: gain for name, gain in gains.items() if gain.interval.n}
    against = {name: gain for name, gain in gains.items() if name in controls}
    rivals = {name: gain for name, gain in gains.items() if name not in controls}
    means = {name: mean_interval(falls[:, i]).mean for i, name in enumerate(methods)}
    first = {name: gain for name, gain in against.items() if name == TURNED}
    others = {name: gain for name, gain in against.items() if name != TURNED}
    return Verdict(means, first | _corrected(others), _corrected(rivals), len(falls), _p_all(against))


def judge_maps(
    methods: Sequence[str], falls: Sequence[NDArray[np.floating]], controls: Sequence[str], seed: int = 0
) -> list[Verdict]:
    """Return the verdicts on many maps: `judge`, corrected for their number too.

    Args:
        methods: As for `judge`.
        falls: For each map the (n, methods) falls of its hits.
        controls: As for `judge`.
        seed: As for `judge`.

    *Convention*: the p values of each control are corrected over the maps by Benjamini and Hochberg: of the maps that
    are said to beat it, at most 5 % are expected not to; and so are those of the maps that beat all.
    """
    verdicts = [judge(methods, own, controls, seed) for own in falls]
    p_all = false_discoveries(np.array([np.nan if v.p_all is None else v.p_all for v in verdicts]))
    verdicts = [
        replace(verdict, p_all=None if np.isnan(own) else own)
        for verdict, own in zip(verdicts, p_all.tolist(), strict=True)
    ]
    for kind in ("gains", "rivals"):
        for name in methods[1:]:
            found = [getattr(v, kind).get(name) for v in verdicts]
            p = false_discoveries(np.array([np.nan if g is None or g.p is None else g.p for g in found]))
            for verdict, gain, own in zip(verdicts, found, p.tolist(), strict=True):
                if gain is not None:
                    getattr(verdict, kind)[name] = replace(gain, p=None if np.isnan(own) else own)
    return verdicts


def advised_rules(
    falls: Mapping[str, NDArray[np.floating]],
    turned: Mapping[str, NDArray[np.floating]],
    default: str,
    seed: int = 0,
) -> str:
    """Return the rule set with the best evidence: the default unless another is surely better.

    Args:
        falls: By rule set, the (n,) falls of the same n samples.
        turned: By rule set, those of its turned masks.
        default: Kept unless another rule set's fall is surely larger (as in `judge`), and surely larger than that of
            its own turned mask: better not merely because its pixels lie nearer to the middle.
        seed: Random seed of the tests of many samples.

    Example:
        >>> falls = {"deconvnet": np.linspace(0.4, 0.6, 9), "guided": np.linspace(0.8, 0.9, 9)}
        >>> advised_rules(falls, {"guided": np.linspace(0.1, 0.2, 9)}, "deconvnet")
        'guided'
    """
    over_default = _corrected(
        {name: _gain(own - falls[default], seed) for name, own in falls.items() if name != default}
    )
    over_turned = _corrected({name: _gain(falls[name] - turned[name], seed) for name in over_default})
    surer = {
        name: gain.interval.mean or 0.0
        for name, gain in over_default.items()
        if gain.is_won and over_turned[name].is_won
    }
    return max(surer, key=lambda name: surer[name]) if surer else default


def _gain(differences: NDArray[np.floating], seed: int) -> Gain:
    return Gain(mean_interval(differences), sign_flip_p(differences, seed))


def _p_all(gains: Mapping[str, Gain]) -> float | None:
    """Return p of being better than every control: 1 unless it is better than each on average."""
    if not gains or any(gain.p is None for gain in gains.values()):
        return None
    is_better = all((gain.interval.mean or 0) > 0 for gain in gains.values())
    return max(gain.p for gain in gains.values() if gain.p is not None) if is_better else 1.0


def _corrected(gains: Mapping[str, Gain]) -> dict[str, Gain]:
    p = holm({name: gain.p for name, gain in gains.items()})
    return {name: replace(gain, p=p[name]) for name, gain in gains.items()}


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
