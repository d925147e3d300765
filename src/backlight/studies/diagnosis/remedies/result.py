"""What a trial of remedies takes and finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from backlight.studies.checks import check_at_least
from backlight.studies.diagnosis.remedies.paired import mcnemar_p, paired_change, share
from backlight.studies.intervals import Interval
from backlight.studies.results import Result


@dataclass(frozen=True)
class TrialConfig:
    """How remedies are tried.

    Attributes:
        batch: How many images are run at once.
        rounds: How often both networks are timed, in turns; 0 for no times.
        timed: How many images are run to time them.
    """

    batch: int = 50
    rounds: int = 5
    timed: int = 8

    def __post_init__(self) -> None:
        """Check the values."""
        check_at_least(1, batch=self.batch, timed=self.timed)
        check_at_least(0, rounds=self.rounds)


@dataclass(frozen=True)
class Cost:
    """What a network costs.

    Attributes:
        flops: Floating-point operations of the convolutions and products for one image.
        parameters: How many numbers it has learnt.
        ms: Milliseconds per image on this machine, the median of the rounds; None if it was not timed.
    """

    flops: int
    parameters: int
    ms: float | None


@dataclass(frozen=True)
class Tried:
    """A remedy that was tried.

    Attributes:
        remedy: Its name.
        done: What was done; the reason where it could not be done.
        is_done: Whether it could be done.
        notes: What else its owner should know.
        cost: What the new network costs; None where there is none.
        measure: The finding's own measure of the new network; None where none was given.
    """

    remedy: str
    done: str
    is_done: bool
    notes: tuple[str, ...] = ()
    cost: Cost | None = None
    measure: float | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Trial(Result):
    """What remedies changed.

    Attributes:
        config: How they were tried.
        network: The network's name.
        has_labels: Whether the classes of the images were given.
        cost: What the network costs as it is.
        measures: For each remedy the finding's own measure before; None where none was given.
        tried: The remedies.
        labels: (n,) classes of the images: those given, or those that the network found.
        before: (n,) classes that the network finds.
        after: (remedies, n) classes that the new networks find; -1 where there is none.
    """

    study: ClassVar[str] = "remedies"

    config: TrialConfig
    network: str
    has_labels: bool
    cost: Cost
    measures: tuple[float | None, ...]
    tried: tuple[Tried, ...]
    labels: NDArray[np.int64]
    before: NDArray[np.int64]
    after: NDArray[np.int64]

    def accuracy(self, index: int | None = None) -> Interval:
        """Return the share of images whose class a new network finds, or for None the old one.

        Without labels the class is the one that the old network finds.
        """
        return share((self.before if index is None else self.after[index]) == self.labels)

    def change(self, index: int) -> Interval:
        """Return how a remedy changes the share of images whose class is found, paired by image.

        Without labels every change is for the worse, and the interval is that of the share that stays.
        """
        if self.has_labels:
            return paired_change(self.before == self.labels, self.after[index] == self.labels)
        same = self.accuracy(index)
        mean, low, high = (None if own is None else own - 1 for own in (same.mean, same.low, same.high))
        return Interval(mean, low, high, same.n)

    def p(self, index: int) -> float | None:
        """Return the p value that a remedy changes the accuracy only by chance; None without labels."""
        if not self.has_labels:
            return None
        return mcnemar_p(self.before == self.labels, self.after[index] == self.labels)

    def summary(self) -> dict[str, Any]:
        """Return what each remedy changed."""
        return {
            "network": self.network,
            "images": len(self.labels),
            "measured": "accuracy" if self.has_labels else "agreement with the old network",
            "before": self.accuracy().mean,
            "remedies": [self._row(i) for i in range(len(self.tried))],
        }

    def _row(self, index: int) -> dict[str, Any]:
        own = self.tried[index]
        found: dict[str, Any] = {"remedy": own.remedy, "done": own.done, "is_done": own.is_done}
        if own.cost is None:
            return found
        change, cost = self.change(index), self.cost
        found |= {
            "after": self.accuracy(index).mean,
            "change": change.mean,
            "low": change.low,
            "high": change.high,
        }
        found |= {"p": self.p(index), "flops": own.cost.flops / max(cost.flops, 1)}
        found |= {"parameters": own.cost.parameters / max(cost.parameters, 1)}
        found |= {"time": own.cost.ms / cost.ms if own.cost.ms and cost.ms else None}
        return found | {"measure_before": self.measures[index], "measure_after": own.measure}

    def lines(self) -> list[str]:
        """Return one line of text for each remedy."""
        return [self._line(i) for i in range(len(self.tried))]

    def _line(self, index: int) -> str:
        own = self.tried[index]
        if own.cost is None:
            return f"{own.remedy}: not possible: {own.done}"
        row = self._row(index)
        parts = [_shares(self.accuracy().mean, row, self.has_labels)]
        parts += [
            f"{name} {_percent(row[key])}" for name, key in (("FLOPs", "flops"), ("parameters", "parameters"))
        ]
        parts += [f"time {_percent(row['time'])}"] if row["time"] is not None else []
        if own.measure is not None:
            parts.append(f"the finding's measure {_number(self.measures[index])} -> {_number(own.measure)}")
        return f"{own.remedy}: {own.done}: {'; '.join([*parts, *own.notes])}"


def _shares(before: float | None, row: dict[str, Any], has_labels: bool) -> str:
    ends = f"{100 * row['low']:+.1f} to {100 * row['high']:+.1f}"
    if has_labels:
        change = f"{100 * row['change']:+.1f}, 95 % interval {ends} points"
        return f"accuracy {100 * (before or 0):.1f} % -> {100 * row['after']:.1f} % ({change})"
    low, high = (f"{100 + 100 * row[end]:.1f}" for end in ("low", "high"))
    return f"{100 * row['after']:.1f} % of the answers stay (95 % interval {low} to {high} %)"


def _percent(ratio: float) -> str:
    change = 100 * (ratio - 1)
    return "unchanged" if abs(change) < 0.05 else f"{change:+.1f} %"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"
