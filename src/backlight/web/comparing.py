"""Comparing: what pages show of an atlas beside another one, and the sheets of its pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import product

from backlight.atlas import Atlas, AtlasLayer, FeatureMap, LayerChange, MapChange, compare_layer
from backlight.web import links
from backlight.web.contexts import (
    CompareLayerPage,
    ComparePage,
    LayerChangeView,
    MapChangeView,
    Side,
)
from backlight.web.sheets import KINDS, Sheet, draw_sheet, margin, shown_hits
from backlight.web.views import MOSTLY, Views, card_of

_STEPS = 9


class Compared:
    """What pages show of an atlas beside another one.

    The pictures of the other atlas have sheets of their own, in the order of the comparison. So have those of this one
    where a layer fills several pages: else a page of its most changed maps would load all sheets of the layer.

    Args:
        views: What pages show of the atlas, which has been paired with the other one.
        other: The other one.
    """

    def __init__(self, views: Views, other: Atlas) -> None:
        assert views.pairing is not None
        self.views, self.other, self.pairing = views, other, views.pairing
        self._changes: dict[str, LayerChange] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The layers that are compared."""
        return tuple(self.pairing.channels)

    @property
    def pages(self) -> dict[str, Callable[[], CompareLayerPage]]:
        """What makes the context of each page of a layer, by its address."""
        return {
            links.compared(self.views.slugs[name], page): partial(self.layer, name, page)
            for name in self.names
            for page in range(1, self._n_pages(name) + 1)
        }

    @property
    def sheets(self) -> dict[str, Callable[[], bytes]]:
        """What draws each sheet, by its address."""
        found: dict[str, Callable[[], bytes]] = {}
        for name in self.names:
            slug = self.views.slugs[name]
            of = {links.sheet_beside(slug): self.other[name]}
            if not self._is_on_one_sheet(name):
                of[links.sheet_in_order(slug)] = self.views.atlas[name]
            for own, layer in of.items():
                for page, kind in product(range(1, self._n_pages(name) + 1), KINDS):
                    found[links.sheet(own, page, kind)] = partial(self._draw, layer, page, kind)
        return found

    def change(self, name: str) -> LayerChange:
        """Return how a layer's maps differ."""
        if name not in self._changes:
            self._changes[name] = compare_layer(self.views.atlas[name], self.other[name], self.pairing)
        return self._changes[name]

    def summary(self) -> ComparePage:
        """Return the context of the page of all layers."""
        pairing = self.pairing
        return ComparePage(
            site=self.views.site,
            name=pairing.names[0],
            changes=tuple(map(self._layer, self.names)),
            left_out=pairing.left_out,
            top=pairing.top,
            by_chance=pairing.by_chance,
            differences=pairing.differences,
        )

    def layer(self, name: str, page: int) -> CompareLayerPage:
        """Return the context of a page of a layer, numbered from 1."""
        slugs, at = self.views.slugs, self.names.index(name)
        before, after = self.names[:at][-1:], self.names[at + 1 :][:1]
        return CompareLayerPage(
            site=self.views.site,
            name=self.pairing.names[0],
            change=self._layer(name),
            maps=tuple(self._map(name, own) for own in self._of_page(name, page)),
            page=page,
            pages=tuple(links.compared(slugs[name], i + 1) for i in range(self._n_pages(name))),
            before=links.compared(slugs[before[0]]) if before else None,
            after=links.compared(slugs[after[0]]) if after else None,
        )

    def _draw(self, layer: AtlasLayer, page: int, kind: str) -> bytes:
        channels = [own.channel for own in self._of_page(layer.name, page)]
        return draw_sheet(layer, channels, kind, self._margin(layer))

    def _margin(self, layer: AtlasLayer) -> int:
        """Return what is cut from a layer's tiles: the same in both atlases, so that both show the same part."""
        ours = self.views.atlas[layer.name]
        # the other may be a network whose units see more, or less
        is_like = layer.receptive_field == ours.receptive_field
        return self.views.margin(layer.name) if is_like else margin(layer)

    def _of_page(self, name: str, page: int) -> tuple[MapChange, ...]:
        return self.change(name).maps[(page - 1) * links.PER_PAGE : page * links.PER_PAGE]

    def _n_pages(self, name: str) -> int:
        return links.n_pages(len(self.pairing.channels[name]))

    def _is_on_one_sheet(self, name: str) -> bool:
        return links.n_pages(len(self.views.atlas[name].channels)) == 1

    def _layer(self, name: str) -> LayerChangeView:
        change = self.change(name)
        counts = Counter(round(own.changed * _STEPS) for own in change.maps)
        example = next((own for own in change.maps if not any(own.dead)), None)
        return LayerChangeView(
            layer=self.views.layer(name),
            href=links.compared(self.views.slugs[name]),
            n_compared=len(change.maps),
            n_left_out=len(change.only_a) + len(change.only_b),
            changed=change.changed,
            filters=change.filters,
            n_died=change.n_died,
            n_revived=change.n_revived,
            counts=tuple(counts[step] for step in range(_STEPS + 1)),
            example=None if example is None else self._map(name, example),
        )

    def _map(self, name: str, own: MapChange) -> MapChangeView:
        views, slug = self.views, self.views.slugs[name]
        ours, theirs = views.atlas[name], self.other[name]
        before, at = divmod(self.change(name).maps.index(own), links.PER_PAGE)
        page, count = before + 1, len(self._of_page(name, before + 1))
        sheet, place = Sheet(links.sheet_in_order(slug), page, count, views.version), at
        if self._is_on_one_sheet(name):
            sheet, place = views.sheet(ours, own.channel)
        beside = Sheet(links.sheet_beside(slug), page, count, views.version)
        return MapChangeView(
            channel=own.channel,
            href=links.feature_map(slug, ours.channels.index(own.channel), own.channel),
            changed=own.changed,
            n_shared=own.n_shared,
            n_hits=own.n_hits,
            filters=own.filters,
            strength=own.strength,
            gain=own.evidence,
            ours=self._side(ours[own.channel], theirs[own.channel], sheet, place),
            theirs=self._side(theirs[own.channel], ours[own.channel], beside, at),
        )

    def _side(self, own: FeatureMap, other: FeatureMap, sheet: Sheet, place: int) -> Side:
        """Return what an atlas shows of a map; its pictures are at a place of a sheet."""
        hits, top = shown_hits(own), self.pairing.top
        others = {hit.image_id for hit in other.hits[:top]}
        pictures = (sheet.block("projections", place), sheet.block("patches", place))
        card = card_of(own, "", "", pictures if hits else (None, None), self.views.label_href)
        return Side(
            max=card.max,
            is_dead=card.is_dead,
            label=card.labels[0].label if card.purity > MOSTLY else "",
            shared=tuple(hit.rank for hit in hits[:top] if hit.image_id in others),
            projections=card.projections,
            patches=card.patches,
        )
