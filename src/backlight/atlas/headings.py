"""Headings: what stands above the pictures of a layer's feature maps, as data; figures and pages draw it."""

from __future__ import annotations

from dataclasses import dataclass

from backlight.geometry import ReceptiveField

_EMPTY_PLACES = 64


@dataclass(frozen=True)
class Heading:
    """Whose feature maps are shown.

    Attributes:
        network: The network's name.
        layer: The layer's name.
        n_maps: Number of its feature maps.
        n_images: Number of images that were read.
        rules: By which rules hits were projected, in words.
        receptive_field: What a unit sees; None for the whole image.
        top: Hits of a feature map, at most.
        evidence: What a study found out about the layer's projections, in words; empty before.
    """

    network: str
    layer: str
    n_maps: int
    n_images: int
    rules: str
    receptive_field: ReceptiveField | None
    top: int
    evidence: str = ""

    @property
    def title(self) -> str:
        """The network and the layer."""
        return f"{self.network} · {self.layer}"

    @property
    def n_places(self) -> int:
        """Number of places for the hits of a map: a map has no more hits than there are images."""
        return min(self.top, max(_EMPTY_PLACES, self.n_images))

    def subtitle(self, shown: str = "", has_stability: bool = False) -> str:
        """Return what was done and what the words under the pictures mean.

        Args:
            shown: What part of the receptive field is shown, in words; empty if all of it.
            has_stability: Whether captions say how many hits are stable.
        """
        field = self.receptive_field
        gates = " (gates held fixed)" if field is not None and field.gates_ignored else ""
        facts = [f"{self.n_maps} feature maps", f"{self.n_images} images", f"{self.rules}{gates}", shown]
        facts.append("active: share of the images in which the map is above zero")
        if has_stability:
            facts.append(
                "stable: ranks at which two halves of the images would have hits of equal strength, within 10 %"
            )
        facts.append(self.evidence)
        return "; ".join(fact for fact in facts if fact)
