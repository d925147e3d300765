"""Pages of two atlases side by side."""

from __future__ import annotations

from dataclasses import dataclass

from backlight.web.contexts.parts import LayerView, SiteView, Sprite


@dataclass(frozen=True)
class Side:
    """A feature map as one of two atlases shows it.

    Attributes:
        max: Its strongest activation.
        is_dead: Whether it is active in no image.
        label: The label that more than half of its hits have; empty where there is none.
        shared: Ranks, from 0, of the hits shown whose images are hits in the other atlas too.
        projections: Its projections, three by three; None for a dead map.
        patches: The patches beside them.
    """

    max: float
    is_dead: bool
    label: str
    shared: tuple[int, ...]
    projections: Sprite | None
    patches: Sprite | None


@dataclass(frozen=True)
class MapChangeView:
    """How a feature map differs between two atlases.

    Attributes:
        channel: Its channel.
        href: Its page in this site.
        changed: Share of its hits' images that are not the same in both; 1 if it is dead in only one.
        n_shared: Number of images that are hits in both.
        n_hits: Number of hits that were compared.
        filters: Cosine distance between its two filters, 0 to 2; None where they are not kept.
        strength: The strongest activation of the other, in parts of ours; None where one is not above zero.
        gain: How much larger the other's gain of evidence is; None where one of them was not studied.
        ours: The map in this atlas.
        theirs: The map in the other one.
    """

    channel: int
    href: str
    changed: float
    n_shared: int
    n_hits: int
    filters: float | None
    strength: float | None
    gain: float | None
    ours: Side
    theirs: Side


@dataclass(frozen=True)
class LayerChangeView:
    """How a layer's maps differ between two atlases.

    Attributes:
        layer: What every page says of the layer.
        href: The page of its maps, side by side.
        n_compared: Number of maps that both atlases show.
        n_left_out: Number of maps that only one shows.
        changed: Mean of the maps' changes.
        filters: Mean distance of their filters; None where they are not kept.
        n_died: Number of maps that are dead in the other atlas only.
        n_revived: Number of maps that are dead in this atlas only.
        counts: Number of maps by how much they changed, in ten steps: 0 for those near 0, 9 for those near 1.
        example: The map that changed most, of those that both have pictures of.
    """

    layer: LayerView
    href: str
    n_compared: int
    n_left_out: int
    changed: float
    filters: float | None
    n_died: int
    n_revived: int
    counts: tuple[int, ...]
    example: MapChangeView | None


@dataclass(frozen=True)
class ComparePage:
    """The layers of two atlases side by side.

    Attributes:
        site: What every page says.
        name: Name of this atlas; that of the other is the site's `beside`.
        changes: The layers that were compared, in the order of the graph.
        left_out: Layers that were not, each with the reason.
        top: Hits of a map that were compared, at most.
        by_chance: Share of a map's hits that would be the same if they were drawn at random.
        differences: In words, what else differs between the two: weights, preprocessing and so on.
    """

    site: SiteView
    name: str
    changes: tuple[LayerChangeView, ...]
    left_out: tuple[tuple[str, str], ...]
    top: int
    by_chance: float
    differences: tuple[str, ...]


@dataclass(frozen=True)
class CompareLayerPage:
    """A page of a layer's maps beside those of another atlas, most changed first.

    Attributes:
        site: What every page says.
        name: Name of this atlas; that of the other is the site's `beside`.
        change: The layer.
        maps: The maps of this page.
        page: Its number, from 1.
        pages: Addresses of all pages of the layer.
        before: Address of the layer before it; None for the first.
        after: Address of the layer after it.
    """

    site: SiteView
    name: str
    change: LayerChangeView
    maps: tuple[MapChangeView, ...]
    page: int
    pages: tuple[str, ...]
    before: str | None
    after: str | None
