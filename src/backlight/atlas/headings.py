"""Headings: what stands above the pictures of a layer's feature maps, as data; figures and pages draw it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from backlight.geometry import ReceptiveField
from backlight.text import counted

_EMPTY_PLACES = 64


@dataclass(frozen=True)
class Heading:
    """Whose feature maps are shown.

    Attributes:
        network: The network's name.
        layer: The layer's name.
        n_maps: Number of its feature maps.
        n_images: Number of images that were read.
        rules: The rule set by which hits were projected.
        receptive_field: What a unit sees; None for the whole image.
        top: Hits of a feature map, at most.
        evidence: What a study found out about the layer's projections, in words; empty before.
        is_chosen: Whether the rules were chosen for this layer, rather than for the whole atlas.
        class_names: The names of the maps, where they are classes and have names.
    """

    network: str
    layer: str
    n_maps: int
    n_images: int
    rules: str
    receptive_field: ReceptiveField | None
    top: int
    evidence: str = ""
    is_chosen: bool = False
    class_names: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The network and the layer."""
        return f"{self.network} · {self.layer}"

    @property
    def n_places(self) -> int:
        """Number of places for the hits of a map: a map has no more hits than there are images."""
        return min(self.top, max(_EMPTY_PLACES, self.n_images))

    def subtitle(self, shown: str = "", others: Sequence[str] = ()) -> str:
        """Return what was done.

        Args:
            shown: What part of the receptive field is shown, in words; empty if all of it.
            others: The other rule sets that are shown.
        """
        field = self.receptive_field
        gates = " (gates held fixed)" if field is not None and field.gates_ignored else ""
        chosen = " (rules chosen layer by layer)" if self.is_chosen else ""
        rules = f"{' and '.join((self.rules, *others))} projections{chosen}{gates}"
        facts = [counted(self.n_maps, "feature map"), counted(self.n_images, "image"), rules, shown]
        return "; ".join(fact for fact in (*facts, self.evidence) if fact)

    def of_map(self, channel: int) -> str:
        """Return how a feature map is called: by its channel, and by its class where it is one with a name."""
        name = self.class_names[channel] if self.class_names else ""
        return f"channel {channel}: {name}" if name else f"channel {channel}"

    @staticmethod
    def terms(has_stability: bool = False) -> str:
        """Return what the words above the pictures mean.

        Args:
            has_stability: Whether captions say how many hits are stable.
        """
        active = "Active: share of the images in which the map is above zero."
        stable = (
            "Stable: ranks at which two halves of the images would have hits of equal strength, within 10 %."
        )
        return f"{active} {stable}" if has_stability else active
