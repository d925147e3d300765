"""From what was tested to what is found: corrections for many tests, and the order of a report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from backlight.studies.diagnosis.kinds import KINDS
from backlight.studies.diagnosis.result import Finding, Lacking, LookedFor
from backlight.studies.intervals import P_LIMIT, false_discoveries


@dataclass
class Outcome:
    """What a search for some kinds of findings has tested.

    Attributes:
        findings: One for each test; `is_found` says that the value is beyond its limit, before any correction.
        lacking: What could not be looked for.
        n_maps: By kind and layer, how many feature maps the tests concern.
    """

    findings: list[Finding] = field(default_factory=list)
    lacking: list[Lacking] = field(default_factory=list)
    n_maps: dict[tuple[str, str], int] = field(default_factory=dict)

    def add(self, kind: str, layer: str, n_maps: int, findings: Iterable[Finding]) -> None:
        """Add the tests of a kind in a layer."""
        self.findings.extend(findings)
        self.n_maps[kind, layer] = n_maps

    def lack(self, kind: str, layer: str | None, reason: str) -> None:
        """Say why something could not be looked for."""
        self.lacking.append(Lacking(kind, layer, reason))


@dataclass(frozen=True)
class Verdicts:
    """What was found.

    Attributes:
        findings: What was found, the most serious first.
        looked_for: How much was looked for, by kind and layer.
        lacking: What could not be looked for, and why.
    """

    findings: tuple[Finding, ...]
    looked_for: tuple[LookedFor, ...]
    lacking: tuple[Lacking, ...]


def verdicts(tested: Sequence[Outcome]) -> Verdicts:
    """Return what was found: of each kind, the p values of all of its tests are corrected together.

    *Convention*: findings are ordered by how much their kind matters times the share of the layer's maps that have it,
    which for a whole layer is 1; equal ones in the order in which they were tested.
    """
    corrected = [
        own for kind in KINDS for own in _corrected([f for t in tested for f in t.findings if f.kind == kind])
    ]
    n_maps = {key: n for own in tested for key, n in own.n_maps.items()}
    looked_for = []
    for (kind, layer), n in n_maps.items():
        mine = [own for own in corrected if (own.kind, own.layer) == (kind, layer)]
        found = [own for own in mine if own.is_found]
        concerned = {channel for own in found for channel in own.channels}
        n_found = n if any(not own.channels for own in found) else len(concerned)
        looked_for.append(LookedFor(kind, layer, len(mine), n, n_found))
    share = {(own.kind, own.layer): own.n_found / max(own.n_maps, 1) for own in looked_for}
    ranked = sorted(
        (own for own in corrected if own.is_found),
        key=lambda own: -KINDS[own.kind].weight * share[own.kind, own.layer],
    )
    return Verdicts(tuple(ranked), tuple(looked_for), tuple(one for own in tested for one in own.lacking))


def _corrected(tests: Sequence[Finding]) -> list[Finding]:
    """Return the tests of a kind with corrected p values, and whether each is found after the correction."""
    p = false_discoveries(np.array([np.nan if own.p is None else own.p for own in tests], np.float64))
    return [
        own
        if own.p is None
        else replace(own, p_corrected=float(q), is_found=own.is_found and bool(q <= P_LIMIT))
        for own, q in zip(tests, p, strict=True)
    ]
