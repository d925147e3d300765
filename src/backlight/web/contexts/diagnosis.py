"""What is wrong with the network: the page of a diagnosis."""

from __future__ import annotations

from dataclasses import dataclass

from backlight.web.contexts.parts import SiteView, Sprite


@dataclass(frozen=True)
class Accused:
    """A feature map that has a finding.

    Attributes:
        channel: The map.
        href: Its page; None where the atlas does not show it.
    """

    channel: int
    href: str | None


@dataclass(frozen=True, kw_only=True)
class FindingView:
    """A finding.

    Attributes:
        layer: The layer.
        layer_href: Its page; None where the atlas has no such layer.
        accused: The maps concerned; none where it is the whole layer.
        says: What was found.
        null: What the measure would be in a sound network.
        value: The measure.
        low: Lower end of its 95 % interval; None where it is exact.
        high: Upper end.
        p: Probability of such a value in a sound network, corrected; None where it follows from arithmetic.
        picture: Its evidence; None without one.
    """

    layer: str
    layer_href: str | None
    accused: tuple[Accused, ...]
    says: str
    null: str
    value: float
    low: float | None
    high: float | None
    p: float | None
    picture: Sprite | None


@dataclass(frozen=True, kw_only=True)
class KindView:
    """A kind of finding.

    Attributes:
        title: What it is called.
        measure: What was measured.
        to_try: What to try.
        n_looked_for: How many things were tested.
        n_found: Findings.
        share: Share of the feature maps looked at that have it; None where it could not be looked for.
        findings: The first of the findings.
    """

    title: str
    measure: str
    to_try: str
    n_looked_for: int
    n_found: int
    share: float | None
    findings: tuple[FindingView, ...]


@dataclass(frozen=True)
class Unseen:
    """What could not be looked for.

    Attributes:
        title: The kind of finding.
        layers: Where; none for the whole network.
        reason: Why not.
    """

    title: str
    layers: tuple[str, ...]
    reason: str


@dataclass(frozen=True, kw_only=True)
class DiagnosisPage:
    """What a diagnosis found.

    Attributes:
        site: What every page says.
        is_own: Whether it is of a network of the atlas's name.
        diagnosed: The network's name.
        n_looked_at: Number of images that were looked at.
        n_layers: Number of layers.
        n_tests: How many things were looked for.
        kinds: The kinds of findings, those that were found first, the most serious first.
        unseen: What could not be looked for.
    """

    site: SiteView
    is_own: bool
    diagnosed: str
    n_looked_at: int
    n_layers: int
    n_tests: int
    kinds: tuple[KindView, ...]
    unseen: tuple[Unseen, ...]
