"""Verdicts: what the falls of the activation say about a projection, compared with those of its controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backlight.studies.intervals import bootstrap


@dataclass(frozen=True)
class Verdict:
    """How a projection compares with its controls, and with other rule sets.

    Attributes:
        falls: Mean fall of the activation by method, the projection's first; None where there is nothing to average.
        equal: The controls that cannot be told apart from it.
        better: The controls that do better.
        rivals: The other rule sets that do better.
    """

    falls: dict[str, float | None]
    equal: tuple[str, ...]
    better: tuple[str, ...]
    rivals: tuple[str, ...]

    @property
    def is_strong(self) -> bool:
        """Whether it beats every control."""
        return not (self.equal or self.better)

    @property
    def text(self) -> str:
        """The verdict in words."""
        parts = []
        if self.is_strong:
            parts.append("better than every control")
        if self.better:
            parts.append(f"worse than {_listed(self.better)}")
        if self.equal:
            parts.append(f"no better than {_listed(self.equal)}")
        if self.rivals:
            parts.append(f"{_listed(self.rivals)} {'is' if len(self.rivals) == 1 else 'are'} better")
        return "; ".join(parts)


def judge(
    methods: Sequence[str], falls: NDArray[np.floating], controls: Sequence[str], seed: int = 0
) -> Verdict:
    """Return the verdict on the first method.

    Args:
        methods: What chose the pixels.
        falls: (n, methods) fall of the activation for n independent samples (hits of a map, or maps of a layer); NaN
            where a control is missing.
        controls: Which of the methods are controls; the others are rule sets.
        seed: Random seed for the bootstrap.

    *Convention*: a control counts as beaten where the 95 % bootstrap interval of the mean difference lies above zero.
    With three samples that means in every one of them. One sample beats nothing.

    Example:
        >>> falls = np.array([[0.9, 0.8, 0.1], [0.8, 0.9, 0.2], [0.9, 0.7, 0.3]])
        >>> judge(["deconvnet", "centre", "random"], falls, ["centre", "random"]).text
        'no better than centre'
    """
    # differences within a sample, so that what makes a hit easy or hard to cover cancels out
    gains = {name: bootstrap(falls[:, 0] - falls[:, i], seed) for i, name in enumerate(methods) if i}
    lost = [name for name, gain in gains.items() if gain.n > 1 and gain.below_zero]
    beaten = [name for name, gain in gains.items() if gain.n > 1 and gain.above_zero]
    even = [name for name, gain in gains.items() if gain.n and name not in (*lost, *beaten)]
    means = {name: bootstrap(falls[:, i], seed).mean for i, name in enumerate(methods)}
    return Verdict(
        means,
        tuple(name for name in even if name in controls),
        tuple(name for name in lost if name in controls),
        tuple(name for name in lost if name not in controls),
    )


def advised_rules(falls: Mapping[str, NDArray[np.floating]], default: str, seed: int = 0) -> str:
    """Return the rule set with the best evidence: the default unless another is surely better.

    Args:
        falls: By rule set, the (n,) falls of the same n samples.
        default: Kept unless the interval of another rule set's mean advantage over it lies above zero.
        seed: Random seed for the bootstrap.

    Example:
        >>> advised_rules({"deconvnet": np.array([0.5, 0.6, 0.4]), "guided": np.array([0.9, 0.8, 0.9])}, "deconvnet")
        'guided'
    """
    surer = {
        name: gain.mean
        for name, own in falls.items()
        if name != default and (gain := bootstrap(own - falls[default], seed)).n > 1 and gain.above_zero
    }
    return max(surer, key=lambda name: surer[name] or 0.0) if surer else default


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
