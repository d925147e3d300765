"""What a diagnosis takes and finds: its configuration, its findings, and its result."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from backlight.errors import BadInputError
from backlight.studies.checks import check_at_least
from backlight.studies.diagnosis.kinds import KINDS
from backlight.studies.results import Result


@dataclass(frozen=True)
class DiagnosisConfig:
    """How much is looked at, and from where on something is a finding.

    Attributes:
        n_images: How many images, drawn at random from the set; fewer where it has fewer.
        n_hits: How many of a map's strongest images its causes are sought in.
        n_projected: How many maps of a layer are projected to see a grid in their pictures.
        rare: A map above zero in less than this share of the images is dead or sleeping; above zero everywhere in more
            than the rest of them it is always on.
        alike: Two maps are near-duplicates if their filters' cosine and their activations' correlation exceed this.
        loud: A filter stands out if its RMS exceeds the layer's median by this factor.
        folded: A layer aliases if its stride folds more than this share of the energy.
        grid: Projections have a grid if their energy at its frequency exceeds its neighbours' by this factor.
        border: A map is a border detector if more than this share of the way from the usual share of positions at the
            border to all of them lies behind it.
        split: A map has several causes if two clusters explain more than this share of its hits' variance.
        seed: Random seed for every draw.
    """

    n_images: int = 1000
    n_hits: int = 64
    n_projected: int = 8
    rare: float = 0.05
    alike: float = 0.95
    loud: float = 5.0
    folded: float = 0.5
    grid: float = 4.0
    border: float = 0.5
    split: float = 0.7
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the values."""
        check_at_least(1, n_images=self.n_images, n_projected=self.n_projected)
        check_at_least(4, n_hits=self.n_hits)
        check_at_least(0, seed=self.seed)
        for name in ("rare", "alike", "folded", "border", "split"):
            value = getattr(self, name)
            if not 0 < value < 1:
                raise BadInputError(f"{name} is a share between 0 and 1, got {value}")
        for name in ("loud", "grid"):
            value = getattr(self, name)
            if not value > 1:
                raise BadInputError(f"{name} is a factor above 1, got {value}")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for.

    Attributes:
        kind: One of `KINDS`.
        layer: The layer.
        channels: The feature maps concerned, the accused first; empty where it is the whole layer.
        value: The measure that `KINDS` names.
        unit: Unit of the value: `share`, `factor`, `correlation` or `pixels`.
        limit: What the value is compared with.
        null: What the value would be in a sound network, in words.
        says: What was found, in a sentence.
        low: Lower end of the value's 95 % interval; None where it is exact.
        high: Upper end.
        p: Probability of such a value under the null; None where it follows from arithmetic alone.
        p_corrected: The same, corrected for all findings of the kind that were looked for (Benjamini & Hochberg).
        is_found: Whether it is a finding: the value is beyond its limit and, where there is a p, that is at most 0.05
            after the correction.
        evidence: The place of its picture in `Diagnosis.pictures`; None without one.
    """

    kind: str
    layer: str
    channels: tuple[int, ...]
    value: float
    unit: str
    limit: float
    null: str
    says: str
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_corrected: float | None = None
    is_found: bool = False
    evidence: int | None = None

    @property
    def title(self) -> str:
        """What it is called."""
        return KINDS[self.kind].title

    @property
    def measure(self) -> str:
        """What the value is."""
        return KINDS[self.kind].measure

    @property
    def to_try(self) -> str:
        """What to try, in plain words."""
        return KINDS[self.kind].to_try


@dataclass(frozen=True)
class Lacking:
    """What could not be looked for.

    Attributes:
        kind: One of `KINDS`.
        layer: The layer; None for the whole network.
        reason: Why not, and what it would take.
    """

    kind: str
    layer: str | None
    reason: str


@dataclass(frozen=True)
class LookedFor:
    """How much was looked for in a layer.

    Attributes:
        kind: One of `KINDS`.
        layer: The layer.
        n_tests: How many things were tested.
        n_maps: How many feature maps these concern.
        n_found: How many of the maps have the finding.
    """

    kind: str
    layer: str
    n_tests: int
    n_maps: int
    n_found: int


@dataclass(frozen=True, eq=False, repr=False)
class Diagnosis(Result):
    """What is wrong with a network.

    Attributes:
        config: How much was looked at.
        network: The network's name.
        images: The image set's name.
        n_images: How many images were looked at.
        layers: The layers.
        findings: What was found, the most serious first.
        looked_for: How much was looked for, by kind and layer.
        lacking: What could not be looked for, and why.
        pictures: (k, side, side, 3) uint8, evidence of the findings.
    """

    study: ClassVar[str] = "diagnosis"

    config: DiagnosisConfig
    network: str
    images: str
    n_images: int
    layers: tuple[str, ...]
    findings: tuple[Finding, ...]
    looked_for: tuple[LookedFor, ...]
    lacking: tuple[Lacking, ...]
    pictures: NDArray[np.uint8]

    def __post_init__(self) -> None:
        """Refuse what does not belong together: a file may come from anybody."""
        kinds = [own.kind for own in self.findings] + [own.kind for own in self.looked_for]
        for kind in kinds + [own.kind for own in self.lacking]:
            check_kind(kind)
        pictures = self.pictures
        is_sound = pictures.dtype == np.uint8 and pictures.ndim == 4 and pictures.shape[3] == 3
        if not is_sound or (len(pictures) and not (pictures.shape[1] == pictures.shape[2] > 0)):
            raise BadInputError("the pictures of a diagnosis are (k, side, side, 3) uint8")
        for found in self.findings:
            numbers = (found.value, found.limit, found.low, found.high, found.p, found.p_corrected)
            if not all(own is None or math.isfinite(own) for own in numbers):
                raise BadInputError("a finding of a diagnosis has numbers that are not finite")
            if found.evidence is not None and not 0 <= found.evidence < len(pictures):
                raise BadInputError(
                    f"a diagnosis has {len(pictures)} pictures, a finding asks for {found.evidence}"
                )

    @property
    def n_looked_for(self) -> int:
        """How many findings were looked for."""
        return sum(own.n_tests for own in self.looked_for)

    def of(self, kind: str, layer: str | None = None) -> tuple[Finding, ...]:
        """Return the findings of a kind, in all layers or in one.

        Raises:
            BadInputError: There is no such kind.
        """
        check_kind(kind)
        return tuple(own for own in self.findings if own.kind == kind and layer in (None, own.layer))

    def reasons(self) -> list[tuple[str, tuple[str, ...], str]]:
        """Return what could not be looked for, each reason once: kind, layers (none for the whole network), reason."""
        layers: dict[tuple[str, str], list[str]] = {}
        for own in self.lacking:
            layers.setdefault((own.kind, own.reason), []).extend([own.layer] if own.layer else [])
        return [(kind, tuple(where), reason) for (kind, reason), where in layers.items()]

    def of_map(self, layer: str, channel: int) -> tuple[Finding, ...]:
        """Return what was found of a feature map, without what concerns its whole layer."""
        return tuple(own for own in self.findings if own.layer == layer and channel in own.channels)

    def maps_with(self, kind: str, layer: str) -> set[int]:
        """Return the feature maps of a layer that have a finding of a kind."""
        return {channel for own in self.of(kind, layer) for channel in own.channels}

    def share(self, kind: str, layers: Sequence[str] | None = None) -> float | None:
        """Return the share of the maps looked at that have a finding; None where it was not looked for.

        Args:
            kind: One of `KINDS`. A finding of a whole layer counts for all of its maps.
            layers: The layers; None for all that were looked at.

        Raises:
            BadInputError: There is no such kind.
        """
        check_kind(kind)
        mine = [
            own for own in self.looked_for if own.kind == kind and (layers is None or own.layer in layers)
        ]
        n_maps = sum(own.n_maps for own in mine)
        return sum(own.n_found for own in mine) / n_maps if n_maps else None

    def report(self) -> dict[str, Any]:
        """Return the whole report as plain JSON, for a build server: summary, findings, and what could not be seen."""
        findings = [
            asdict(own) | {"measure": own.measure, "to_try": own.to_try, "channels": list(own.channels)}
            for own in self.findings
        ]
        return {
            "network": self.network,
            "images": self.images,
            "n_images": self.n_images,
            "summary": self.summary(),
            "findings": findings,
            "looked_for": [asdict(own) for own in self.looked_for],
            "could_not_be_looked_for": [asdict(own) for own in self.lacking],
        }

    def summary(self) -> dict[str, Any]:
        """Return by kind how much was looked for and found, and which share of the maps has it."""
        found: dict[str, Any] = {"n_looked_for": self.n_looked_for, "n_found": len(self.findings)}
        for kind in KINDS:
            mine = [own for own in self.looked_for if own.kind == kind]
            found[kind] = {
                "n_looked_for": sum(own.n_tests for own in mine),
                "n_found": len(self.of(kind)),
                "share": self.share(kind),
            }
        return found


def check_kind(kind: str) -> None:
    """Raise BadInputError unless there is such a kind of finding."""
    if kind not in KINDS:
        raise BadInputError(f"there is no finding {kind!r}; the kinds are {', '.join(KINDS)}")
