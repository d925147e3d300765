"""Comparing: how much each feature map's hits and filters differ between two atlases of one architecture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from backlight.atlas.layers import AtlasLayer
from backlight.atlas.reader import Atlas
from backlight.atlas.records import FeatureMap
from backlight.errors import BadInputError
from backlight.text import counted

_NAMED = 3


@dataclass(frozen=True)
class MapChange:
    """How a feature map differs between two atlases, `a` and `b`.

    Attributes:
        layer: The layer's name.
        channel: The feature map.
        n_shared: Number of images that are hits of the map in both.
        n_hits: Number of its hits in `a` or in `b`, whichever is smaller.
        filters: Cosine distance between the map's two filters, 0 to 2: 0 where they have the same direction, 1 where
            only one of them is all zeros. None where an atlas does not keep them (`AtlasLayer.map_filters`).
        strength: The strongest activation in `b`, divided by that in `a`; None unless both are above zero.
        dead: Whether the map is active in no image: in `a`, and in `b`.
        evidence: The gain of the evidence in `b` minus that in `a`, -2 to 2; None unless both have been studied.
    """

    layer: str
    channel: int
    n_shared: int
    n_hits: int
    filters: float | None
    strength: float | None
    dead: tuple[bool, bool]
    evidence: float | None

    @property
    def shared(self) -> float:
        """Share of the hits' images that are the same in both, 0 to 1.

        *Convention*: a map that is dead in both has not changed, and shares all; one that is dead in one shares none.
        """
        if self.n_hits:
            return self.n_shared / self.n_hits
        return float(self.dead[0] == self.dead[1])

    @property
    def changed(self) -> float:
        """How much the map has changed, 0 to 1: the share of its hits' images that are not the same in both."""
        return 1 - self.shared

    @property
    def died(self) -> bool:
        """Whether it is active in `a` and dead in `b`."""
        return self.dead == (False, True)

    @property
    def revived(self) -> bool:
        """Whether it is dead in `a` and active in `b`."""
        return self.dead == (True, False)


@dataclass(frozen=True)
class LayerChange:
    """How the feature maps of a layer differ between two atlases, `a` and `b`.

    Attributes:
        name: The layer's name.
        maps: The maps that both atlases show, most changed first: by `changed`, then by `filters`, then by channel.
        only_a: Channels that only `a` shows.
        only_b: Channels that only `b` shows.
    """

    name: str
    maps: tuple[MapChange, ...]
    only_a: tuple[int, ...]
    only_b: tuple[int, ...]

    @property
    def changed(self) -> float:
        """Mean of the maps' `changed`, 0 to 1."""
        return sum(own.changed for own in self.maps) / len(self.maps)

    @property
    def filters(self) -> float | None:
        """Mean of the maps' `filters`, 0 to 2; None where there are none."""
        known = [own.filters for own in self.maps if own.filters is not None]
        return sum(known) / len(known) if known else None

    @property
    def n_died(self) -> int:
        """Number of maps that are active in `a` and dead in `b`."""
        return sum(own.died for own in self.maps)

    @property
    def n_revived(self) -> int:
        """Number of maps that are dead in `a` and active in `b`."""
        return sum(own.revived for own in self.maps)


@dataclass(frozen=True)
class Pairing:
    """What two atlases, `a` and `b`, have in common.

    Attributes:
        names: What tells the two files apart: their names, with folders where the names are equal.
        channels: The feature maps that both show, by layer, in the order of `a`.
        left_out: The layers that cannot be compared, each with the reason.
        top: Hits of a map that are compared, at most: as many as both atlases have.
        by_chance: Share of a map's hits that would be the same if they were drawn at random, 0 to 1.
        differences: In words, what else differs: the weights, the preprocessing, the rule set, the choice of maps.
    """

    names: tuple[str, str]
    channels: dict[str, tuple[int, ...]]
    left_out: tuple[tuple[str, str], ...]
    top: int
    by_chance: float
    differences: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """How two atlases of one architecture, `a` and `b`, differ.

    Attributes:
        pairing: What they have in common, and what is left out.
        layers: The layers that were compared, in the order of `a`.
    """

    pairing: Pairing
    layers: tuple[LayerChange, ...]

    def __repr__(self) -> str:
        """Return what was compared in short: `Comparison('a.atlas', 'b.atlas': 26 layers, 416 maps)`."""
        n_maps = sum(len(layer.maps) for layer in self.layers)
        sizes = f"{counted(len(self.layers), 'layer')}, {counted(n_maps, 'map')}"
        return f"Comparison({', '.join(map(repr, self.pairing.names))}: {sizes})"

    @cached_property
    def maps(self) -> tuple[MapChange, ...]:
        """The maps of all layers, most changed first; of equals, those of earlier layers first."""
        # layers have sorted theirs, and sorting leaves equals in their order: by layer, then by channel
        return tuple(sorted((own for layer in self.layers for own in layer.maps), key=_least_alike))


def compare(a: Atlas, b: Atlas, layers: Sequence[str] | str | None = None) -> Comparison:
    """Return how much the hits and filters of each feature map differ between two atlases.

    The atlases are of one architecture, such as two checkpoints, or a network before and after fine-tuning or
    pruning, over the same images. Maps are compared with their namesakes: the same channel of the layer of the same
    name. A retrained network may have the same features in other channels, which this counts as changed.

    Args:
        a: An atlas.
        b: Another one.
        layers: The layers to compare, or one; None takes all that both have with the same number of maps.

    Raises:
        BadInputError: The atlases are of different images; no layer can be compared; or a layer that was asked for
            cannot.
        UnknownLayerError: `a` has no such layer.
        AtlasError: A scan is not finished.

    Example:
        >>> import backlight
        >>> before, after = map(backlight.open_atlas, ("before.atlas", "after.atlas"))  # doctest: +SKIP
        >>> backlight.compare(before, after).maps[0].changed  # doctest: +SKIP
        0.8888888888888888
    """
    pairing = pair(a, b)
    chosen = [layers] if isinstance(layers, str) else list(pairing.channels) if layers is None else layers
    reasons = dict(pairing.left_out)
    for name in chosen:
        if name not in pairing.channels:
            a[name]  # says which layers there are
            raise BadInputError(f"layer {name!r} cannot be compared: {reasons[name]}")
    found = [compare_layer(a[name], b[name], pairing) for name in dict.fromkeys(chosen)]
    return Comparison(pairing, tuple(found))


def pair(a: Atlas, b: Atlas) -> Pairing:
    """Return what two atlases have in common; reads no feature map.

    Raises:
        BadInputError: They are of different images, or no layer can be compared.
    """
    names = _apart(a.path, b.path)
    if a.image_set != b.image_set:
        raise BadInputError(
            f"{names[0]!r} and {names[1]!r} are of different images ({a.image_set.name!r}, {b.image_set.name!r}), so "
            "their hits cannot be compared; build one over the images of the other"
        )
    channels: dict[str, tuple[int, ...]] = {}
    left_out: list[tuple[str, str]] = []
    for name in dict.fromkeys((*a, *b)):
        if name not in a or name not in b:
            left_out.append((name, f"only in {names[0] if name in a else names[1]}"))
        elif a[name].n_maps != b[name].n_maps:
            left_out.append((name, f"{a[name].n_maps} maps in {names[0]}, {b[name].n_maps} in {names[1]}"))
        elif not set(a[name].channels) & set(b[name].channels):
            left_out.append((name, "no map was projected in both"))
        else:
            shown = set(b[name].channels)
            channels[name] = tuple(own for own in a[name].channels if own in shown)
    if not channels:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out[:_NAMED])
        more = "; …" if len(left_out) > _NAMED else ""
        raise BadInputError(
            f"{names[0]!r} and {names[1]!r} have no layer to compare ({reasons}{more}); choose two atlases of one "
            "architecture"
        )
    top = min(a.selection.top, b.selection.top)
    return Pairing(
        names, channels, tuple(left_out), top, min(1.0, top / max(a.n_scanned, 1)),
        tuple(a.identity.differences(b.identity)),
    )  # fmt: skip


def compare_layer(a: AtlasLayer, b: AtlasLayer, pairing: Pairing) -> LayerChange:
    """Return how the feature maps of a layer differ between two atlases that `pair` has paired.

    Args:
        a: The layer in the first.
        b: The layer in the second.
        pairing: What the two atlases have in common.
    """
    channels = sorted(pairing.channels[a.name])
    ours, theirs = a.map_filters, b.map_filters
    distances = {} if ours is None or theirs is None else ours.distances(theirs)
    maps = [_compare_maps(a[own], b[own], pairing.top, distances.get(own)) for own in channels]
    both = set(channels)
    only_a, only_b = (tuple(own for own in layer.channels if own not in both) for layer in (a, b))
    return LayerChange(a.name, tuple(sorted(maps, key=_least_alike)), only_a, only_b)


def _compare_maps(a: FeatureMap, b: FeatureMap, top: int, distance: float | None) -> MapChange:
    hits = a.hits[:top], b.hits[:top]
    # a map has one hit at most in an image; the image sets are equal, and so are the ids of their images
    images, others = ({hit.image_id for hit in own} for own in hits)
    gains = [None if own.evidence is None else own.evidence.gain for own in (a, b)]
    return MapChange(
        layer=a.layer,
        channel=a.channel,
        n_shared=len(images & others),
        n_hits=min(map(len, hits)),
        filters=distance,
        strength=b.max / a.max if a.max > 0 and b.max > 0 else None,
        dead=(a.dead, b.dead),
        evidence=None if gains[0] is None or gains[1] is None else gains[1] - gains[0],
    )


def _least_alike(own: MapChange) -> tuple[float, float]:
    """Return what maps are sorted by; among equals, earlier ones stay before."""
    return -own.changed, -(own.filters or 0.0)


def _apart(a: Path, b: Path) -> tuple[str, str]:
    """Return the names of two files, with as many of their folders as tell them apart.

    Example:
        >>> _apart(Path("runs/1/net.atlas"), Path("runs/2/net.atlas")), _apart(Path("a.atlas"), Path("x/b.atlas"))
        (('1/net.atlas', '2/net.atlas'), ('a.atlas', 'b.atlas'))
    """
    one, other = a.absolute().parts, b.absolute().parts
    n = 1
    while one != other and one[-n:] == other[-n:]:
        n += 1
    return str(Path(*one[-n:])), str(Path(*other[-n:]))
