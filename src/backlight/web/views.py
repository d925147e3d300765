"""Views: what pages show of an atlas's layers, maps and hits, read once for each layer."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from backlight import __version__
from backlight.atlas import Atlas, AtlasLayer, Evidence, FeatureMap, Hit, pair
from backlight.render.tiles import is_small
from backlight.scan.statistics import HISTOGRAM_EDGES
from backlight.web import links
from backlight.web.by_rules import ByRules
from backlight.web.contexts import (
    Bar,
    BoxView,
    Card,
    Control,
    EvidenceView,
    Example,
    HitView,
    ImageUnit,
    ImageView,
    LabelCount,
    LayerView,
    MapView,
    Near,
    SiteView,
    Sprite,
    StepView,
)
from backlight.web.evolving import Evolved
from backlight.web.sheets import (
    BANDS,
    Sheet,
    margin,
    shown_bands,
    shown_box,
    shown_hits,
    tile_size,
    whole_place,
)

if TYPE_CHECKING:
    from backlight.studies.diagnosis import Diagnosis

_NEAREST = 8
_KEPT_FILTERS = 2
"""Layers whose filters are kept in memory: pages are mostly read layer by layer."""
MOSTLY = 0.5
"""A map is said to be of a label that more than this share of its hits have."""

_CONTROLS = ("turned", "centre", "random", "sobel", "other map", "other image")


@dataclass(frozen=True)
class _Unit:
    """A hit without its picture: what the pages of images and classes list."""

    layer: str
    channel: int
    rank: int


class Views:
    """What pages show of an atlas.

    Args:
        atlas: A finished atlas.
        beside: Another one, that it is compared with.
        evolved: What was seen of its feature maps while the network was trained.
        diagnosis: What is wrong with its network.
        has_probe: Whether images of one's own can be probed.

    Raises:
        BadInputError: The two cannot be compared.
    """

    def __init__(
        self,
        atlas: Atlas,
        beside: Atlas | None = None,
        evolved: Evolved | None = None,
        diagnosis: Diagnosis | None = None,
        *,
        has_probe: bool = False,
    ) -> None:
        self.atlas, self.beside, self.has_probe = atlas, beside, has_probe
        self.evolved, self.diagnosis, self.by_rules = evolved, diagnosis, ByRules(atlas)
        self.pairing = None if beside is None else pair(atlas, beside)
        self.slugs = links.slugs(atlas)
        self._cards: dict[str, dict[int, Card]] = {}
        self._layers: dict[str, LayerView] = {}
        self._margins: dict[str, int] = {}
        self._lit: dict[str, bool] = {}
        self._hit_images: dict[str, dict[int, set[int]]] = {}
        self._filters = lru_cache(_KEPT_FILTERS)(lambda name: atlas[name].map_filters)

    @cached_property
    def site(self) -> SiteView:
        """What every page says."""
        atlas = self.atlas
        rules = list(dict.fromkeys(layer.rules.name for layer in atlas.layers))
        return SiteView(
            network=atlas.model.name,
            n_images=atlas.n_scanned,
            n_shown=sum(len(layer.channels) for layer in atlas.layers),
            image_size=atlas.preprocessing.crop,
            image_set=atlas.image_set.name,
            rules=" and ".join(rules),
            has_labels=bool(self.labels),
            has_probe=self.has_probe,
            version=__version__,
            beside="" if self.pairing is None else self.pairing.names[1],
            has_diagnosis=self.diagnosis is not None,
        )

    @cached_property
    def version(self) -> str:
        """What changes when the pictures do: a hash of what the atlases are of, and of how they are drawn."""
        atlases = [own for own in (self.atlas, self.beside) if own is not None]
        known = [
            (own.model, own.preprocessing, own.image_set, own.rules, own.selection, own.rule_sets)
            for own in atlases
        ]
        steps = None if self.evolved is None else self.evolved.identity
        whole = repr((__version__, known, self.has_wholes, steps)).encode()
        return hashlib.blake2b(whole, digest_size=5).hexdigest()

    @cached_property
    def units(self) -> dict[int, list[_Unit]]:
        """By image, in the order of the layers, the units that it is a shown hit of."""
        found = defaultdict[int, list[_Unit]](list)
        for layer in self.atlas.layers:
            for channel in layer.channels:
                for hit in shown_hits(layer[channel]):
                    found[hit.image_id].append(_Unit(layer.name, channel, hit.rank))
        return dict(sorted(found.items()))

    @cached_property
    def image_places(self) -> dict[int, int]:
        """By image that is a hit, its place among these."""
        return {image_id: place for place, image_id in enumerate(self.units)}

    @cached_property
    def labels(self) -> dict[str, int]:
        """The labels that hits have, each with its number, by name; none where all have one, which tells nothing."""
        images = self.atlas.images
        found = sorted({images[i].label or "" for i in self.units} - {""})
        return {label: i for i, label in enumerate(found)} if len(found) > 1 else {}

    def label(self, of: str | None) -> str | None:
        """Return the label of an image as pages show it: None where labels tell nothing."""
        return of if of in self.labels else None

    def label_href(self, label: str) -> str | None:
        """Return the address of a class; None for a label that is not shown."""
        return links.label(self.labels[label]) if label in self.labels else None

    def sheet(self, layer: AtlasLayer, channel: int) -> tuple[Sheet, int]:
        """Return the sheet that has a map's pictures, and the map's place on it."""
        at = layer.channels.index(channel)
        page = links.page_of(at)
        first = (page - 1) * links.PER_PAGE
        count = min(links.PER_PAGE, len(layer.channels) - first)
        return Sheet(self.slugs[layer.name], page, count, self.version), at - first

    def margin(self, name: str) -> int:
        """Return how many pixels are cut from each side of a layer's tiles."""
        if name not in self._margins:
            self._margins[name] = margin(self.atlas[name])
        return self._margins[name]

    def cards(self, name: str) -> dict[int, Card]:
        """Return the cards of a layer's maps, by channel."""
        if name not in self._cards:
            layer = self.atlas[name]
            self._cards[name] = {channel: self._card(layer, layer[channel]) for channel in layer.channels}
        return self._cards[name]

    def layer(self, name: str) -> LayerView:
        """Return what pages say of a layer."""
        if name not in self._layers:
            layer, slug, cards = self.atlas[name], self.slugs[name], self.cards(name)
            size = tile_size(layer.receptive_field, self.margin(name), self.atlas.preprocessing.crop)
            is_compared = self.pairing is not None and name in self.pairing.channels
            example = _example(cards.values())
            self._layers[name] = replace(
                layer_view(layer, size, [card.is_dead for card in cards.values()]),
                href=links.layer(slug),
                wall=links.wall(slug),
                example=example,
                sample=None if example is None else self._strongest(layer, layer[example.channel]),
                compared=links.compared(slug) if is_compared else None,
            )
        return self._layers[name]

    def map(self, name: str, channel: int) -> MapView:
        """Return what a map's page shows."""
        layer, cards = self.atlas[name], self.cards(name)
        own, at = layer[channel], layer.channels.index(channel)
        channels = layer.channels
        bars, n_inactive = histogram(own, self._examples(layer, own))
        slug = self.slugs[name]
        nearest, alike = self._nearest(layer, channel)
        return MapView(
            card=cards[channel],
            mean=own.mean,
            n_active=round(own.active_share * self.atlas.n_scanned),
            hits=tuple(self.hit(layer, own, hit) for hit in shown_hits(own)),
            by_rules=self.by_rules.views(*self.sheet(layer, channel)) if own.hits else (),
            histogram=bars,
            n_inactive=n_inactive,
            foretelling="" if own.foretelling is None else own.foretelling.text,
            nearest=nearest,
            alike=alike,
            evolution=self._steps(layer, channel),
            findings=self._findings(name, channel),
            before=links.feature_map(slug, at - 1, channels[at - 1]) if at else None,
            after=links.feature_map(slug, at + 1, channels[at + 1]) if at + 1 < len(channels) else None,
        )

    def hit(self, layer: AtlasLayer, feature_map: FeatureMap, hit: Hit) -> HitView:
        """Return what pages show of a hit."""
        sheet, place = self.sheet(layer, feature_map.channel)
        image = self.atlas.images[hit.image_id]
        box = hit.box
        return HitView(
            whole=self.whole(hit.image_id),
            light=sheet.light(place, hit.rank) if self.has_light(layer.name) else None,
            rank=hit.rank + 1,
            value=hit.value,
            row=hit.row,
            col=hit.col,
            box=BoxView(box.top, box.left, box.height, box.width),
            image_id=hit.image_id,
            file=PurePosixPath(image.path).name,
            label=self.label(image.label),
            image_href=links.image(self.image_places[hit.image_id], hit.image_id),
            projection=sheet.tile("projections", place, hit.rank),
            patch=sheet.tile("patches", place, hit.rank),
            shown=shown_box(box, self.atlas.preprocessing.crop, self.margin(layer.name), self.has_wholes),
        )

    def _strongest(self, layer: AtlasLayer, own: FeatureMap) -> HitView | None:
        """Return what pages show of a map's strongest hit."""
        return self.hit(layer, own, own.hits[0]) if own.hits else None

    def whole(self, image_id: int) -> Sprite | None:
        """Return the whole image of a hit; None where the atlas does not keep it."""
        if not self.has_wholes:
            return None
        return whole_place(
            self.image_places[image_id], len(self.units), self.atlas.preprocessing.crop, self.version
        )

    @cached_property
    def has_wholes(self) -> bool:
        """Whether the atlas keeps whole images."""
        first = next(iter(self.units), None)
        return first is not None and self.atlas.images.whole(first) is not None

    def has_light(self, name: str) -> bool:
        """Return whether the atlas keeps the activations of a layer's maps over whole images."""
        if name not in self._lit:
            layer = self.atlas[name]
            hits = (hit for channel in layer.channels for hit in shown_hits(layer[channel]))
            first = next(hits, None) if self.has_wholes and layer.receptive_field is not None else None
            self._lit[name] = first is not None and first.activation_map is not None
        return self._lit[name]

    def has_bands(self, name: str) -> bool:
        """Return whether the atlas shows examples of the bands of a layer's maps."""
        layer = self.atlas[name]
        return self.atlas.file.has_all("bands") and any(shown_bands(layer[own]) for own in layer.channels)

    def image(self, image_id: int) -> ImageView:
        """Return what pages show of an image."""
        image = self.atlas.images[image_id]
        units = []
        for unit in self.units[image_id]:
            layer = self.atlas[unit.layer]
            own = layer[unit.channel]
            href = self.cards(unit.layer)[unit.channel].href
            units.append(ImageUnit(unit.layer, unit.channel, href, self.hit(layer, own, own.hits[unit.rank])))
        of_label = self.label_href(image.label or "")
        return ImageView(
            image_id,
            image.path,
            self.label(image.label),
            of_label,
            image.size,
            self.whole(image_id),
            tuple(units),
        )

    def _card(self, layer: AtlasLayer, own: FeatureMap) -> Card:
        sheet, place = self.sheet(layer, own.channel)
        slug, at = self.slugs[layer.name], layer.channels.index(own.channel)
        made = card_of(
            own,
            f"{slug}:{own.channel}",
            links.feature_map(slug, at, own.channel),
            (sheet.block("projections", place), sheet.block("patches", place)) if own.hits else (None, None),
            self.label_href,
        )
        return replace(made, name=layer.class_names[own.channel]) if layer.class_names else made

    def _examples(self, layer: AtlasLayer, own: FeatureMap) -> dict[int, Example]:
        """Return the examples of a map's bands, by bin."""
        sheet, place = self.sheet(layer, own.channel)
        return {
            example.bin: Example(
                value=example.value,
                file=PurePosixPath(example.image.path).name,
                label=self.label(example.label),
                projection=sheet.band(BANDS[0], place, at),
                patch=sheet.band(BANDS[1], place, at),
            )
            for at, example in enumerate(shown_bands(own))
        }

    def _steps(self, layer: AtlasLayer, channel: int) -> tuple[StepView, ...]:
        """Return the steps of a map's evolution; none where it was not followed."""
        if self.evolved is None:
            return ()
        sheet, place = self.sheet(layer, channel)
        first = layer.channels.index(channel) - place
        on_page = layer.channels[first : first + sheet.count]
        return self.evolved.steps(layer.name, channel, on_page, sheet.href(links.EVOLUTION))

    def _findings(self, name: str, channel: int) -> tuple[tuple[str, str], ...]:
        """Return what a diagnosis has found of a map: the finding's name, and a sentence."""
        found = () if self.diagnosis is None else self.diagnosis.of_map(name, channel)
        return tuple((own.title, own.says) for own in found)

    def _nearest(self, layer: AtlasLayer, channel: int) -> tuple[tuple[Near, ...], tuple[Near, ...]]:
        """Return the maps of a layer that share most hits with a map, and those with the nearest filters."""
        if layer.name not in self._hit_images:
            self._hit_images[layer.name] = {
                own: {hit.image_id for hit in shown_hits(layer[own])} for own in layer.channels
            }
        images, filters, cards = (
            self._hit_images[layer.name],
            self._filters(layer.name),
            self.cards(layer.name),
        )
        shared = {own: len(images[channel] & theirs) for own, theirs in images.items() if own != channel}
        near = {} if filters is None else filters.cosines(channel)

        def best(by: Mapping[int, int | float]) -> tuple[Near, ...]:
            found = sorted((own for own in by if by[own] > 0), key=lambda own: -by[own])[:_NEAREST]
            return tuple(Near(cards[own], shared[own], near.get(own)) for own in found)

        return best(shared), best(near)


def layer_view(layer: AtlasLayer, tile: tuple[int, int], dead: Sequence[bool]) -> LayerView:
    """Return what pages say of a layer, without addresses and an example.

    Args:
        layer: The layer.
        tile: Height and width of what its tiles show.
        dead: Whether they are dead, of the maps shown.
    """
    foretold = layer.foretelling
    return LayerView(
        name=layer.name,
        operator=layer.operator,
        shape=layer.shape,
        n_maps=layer.n_maps,
        n_shown=len(dead),
        n_dead=sum(dead),
        field=None if layer.receptive_field is None else layer.receptive_field.size,
        tile=tile,
        is_small=is_small(*tile),
        rules=layer.rules.name,
        evidence=_evidence(layer.evidence),
        foretelling="" if foretold is None else foretold.text,
        sources=layer.sources,
    )


def card_of(
    own: FeatureMap,
    card_id: str,
    href: str,
    pictures: tuple[Sprite | None, Sprite | None],
    label_href: Callable[[str], str | None],
) -> Card:
    """Return the card of a feature map.

    Args:
        own: The map.
        card_id: Its name in the tray.
        href: Its page.
        pictures: Its projections and patches; None for a map without hits.
        label_href: Returns the address of a class; None for a label that is not shown.
    """
    hits = shown_hits(own)
    images = [hit.image for hit in hits]
    counts = Counter(image.label for image in images if image.label)
    labels = tuple(
        LabelCount(label, n, address)
        for label, n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        if (address := label_href(label)) is not None
    )
    return Card(
        id=card_id,
        layer=own.layer,
        channel=own.channel,
        href=href,
        max=own.max,
        active_share=own.active_share,
        is_dead=own.dead,
        stability="" if own.stability is None else own.stability.text,
        doubt=_doubt(own.n_certain, len(hits)),
        projections=pictures[0],
        patches=pictures[1],
        n_hits=len(hits),
        labels=labels,
        files=tuple(dict.fromkeys(PurePosixPath(image.path).name for image in images)),
        evidence=_evidence(own.evidence),
        purity=labels[0].count / len(hits) if labels else 0.0,
        selectivity=hits[-1].value / own.mean if hits and own.mean > 0 else 0.0,
    )


def _doubt(n_certain: int | None, n_shown: int) -> str:
    """Return in a sentence which of the hits shown are not certain; an empty text where all are, or nobody knows."""
    if n_certain is None or n_certain >= n_shown:
        return ""
    if n_certain == 0:
        return "Its strongest hits are too nearly equal to be told apart: rounding may choose others."
    first = "Its first hit is" if n_certain == 1 else f"Its first {n_certain} hits are"
    return f"{first} certain; the others are too nearly equal to be told apart."


def _evidence(found: Evidence | None) -> EvidenceView | None:
    if found is None:
        return None
    own, *_ = found.falls
    values = {name: value for name, value in found.falls.items() if value is not None}
    mine = found.falls[own]
    return EvidenceView(
        own=mine,
        controls=tuple(Control(name, values[name]) for name in _CONTROLS if name in values),
        others=tuple(
            Control(name, value) for name, value in values.items() if name not in _CONTROLS and name != own
        ),
        verdict=found.verdict,
        is_strong=found.is_strong,
        n=found.n,
        gain=found.gain,
    )


def histogram(own: FeatureMap, examples: dict[int, Example]) -> tuple[tuple[Bar, ...], int]:
    """Return the bars of a map's histogram from its first to its last bin, and in how many images it is not active."""
    inactive, *counts = own.histogram.tolist()
    filled = [i for i, n in enumerate(counts) if n]
    if not filled:
        return (), inactive
    highest, weakest = max(counts), min((hit.value for hit in own.hits), default=float("inf"))
    edges = HISTOGRAM_EDGES.tolist()
    bars = []
    for i in range(filled[0], filled[-1] + 1):
        low, high = edges[i], edges[i + 1] if i + 1 < len(edges) else None
        holds_hits = high is None or high >= weakest
        bars.append(Bar(low, high, counts[i], counts[i] / highest, holds_hits, examples.get(i + 1)))
    return tuple(bars), inactive


def _example(cards: Iterable[Card]) -> Card | None:
    """Return the map that stands for a layer: the one with the best evidence, or else the most selective."""
    alive = [card for card in cards if not card.is_dead]
    return with_best_evidence(alive) or max(alive, key=lambda card: card.selectivity, default=None)


def with_best_evidence(cards: Iterable[Card]) -> Card | None:
    """Return the map whose projections gain most over the same pixels turned; None where that is known of none."""
    gains = [
        (card.evidence.gain, card)
        for card in cards
        if card.evidence is not None and card.evidence.gain is not None
    ]
    return max(gains, key=lambda found: found[0])[1] if gains else None
