"""What studies found of a feature map or a layer, as an atlas keeps it and figures say it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Evidence:
    """Whether covering what the projections show makes the activation fall, for a feature map or a layer.

    Attributes:
        falls: Mean share of the activation that is lost, by what chose the covered pixels: the atlas's rule set first,
            then the other rule sets and the controls. None where a control is missing.
        verdict: In words.
        is_strong: Whether the projection surely tells more than its position does: covering what it shows costs more
            than covering the same pixels turned about the unit.
        best_rules: The rule set with the best evidence.
        n: Number of hits of the map, or of maps of the layer.
    """

    falls: dict[str, float | None]
    verdict: str
    is_strong: bool
    best_rules: str
    n: int

    @property
    def gain(self) -> float | None:
        """How much more is lost than by the same pixels turned about the unit; None where that is not known."""
        own, turned = next(iter(self.falls.values())), self.falls.get("turned")
        return None if own is None or turned is None else own - turned

    @property
    def text(self) -> str:
        """The evidence in a few words, for captions."""
        name, *_ = self.falls
        parts = [
            f"{key} {self.falls[key]:.0%}" for key in ("turned", "centre") if self.falls.get(key) is not None
        ]
        own = self.falls[name]
        lost = "" if own is None else f"{own:.0%} lost when covered ({', '.join(parts)}): "
        return f"{lost}{self.verdict}"


@dataclass(frozen=True)
class Foretold:
    """How well a projection foretells where an image must be covered to make the activation fall.

    Attributes:
        correlations: By rule set, the atlas's own first, the mean rank correlation between the projection's energy
            under a square and the fall that covering the square causes; then that of being near to the unit (`centre`).
            None where there is nothing to correlate.
        partial: The same given the distance from the unit: what the projection tells beyond its position.
        interval: 95 % interval of the own rule set's partial correlation; None of fewer than two samples.
        n: Number of hits of the map, or of maps of the layer.
    """

    correlations: dict[str, float | None]
    partial: dict[str, float | None]
    interval: tuple[float, float] | None
    n: int

    @property
    def text(self) -> str:
        """The finding in a few words, for captions."""
        name, *_ = self.partial
        whole, beyond = self.correlations.get(name), self.partial[name]
        if whole is None or beyond is None:
            return "foretells nothing that can be measured"
        near = self.correlations.get("centre")
        beside = "" if near is None else f", a disc {near:.2f}"
        ends = "" if self.interval is None else " [{:.2f}, {:.2f}]".format(*self.interval)
        return f"foretells falls by {whole:.2f}{beside}; beyond distance {beyond:.2f}{ends} (n = {self.n})"


@dataclass(frozen=True)
class Stability:
    """At how many ranks another set of images would show a feature map's hits as strong as this set does.

    An estimate for two sets of half the size (`backlight.scan.HalvedHits.stability` says how, and what its limits are).

    Attributes:
        n: Number of ranks at which their hits differ by at most 10 % in strength.
        of: Number of ranks that were compared: nine, or fewer where half of the images have fewer hits.
    """

    n: int
    of: int

    @property
    def text(self) -> str:
        """The number in a few words, for captions."""
        return f"{self.n} of {self.of} stable"
