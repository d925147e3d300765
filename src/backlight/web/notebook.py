"""Notebooks: the cards of a feature map and of a layer, as their pages show them, with the pictures inside.

Looked up by `backlight.atlas.drawing.show` when a notebook asks. Pages know all of an atlas; a card is made from its
map, or its layer, alone, so that it is there at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from backlight import __version__
from backlight.atlas import AtlasLayer, FeatureMap
from backlight.atlas.headings import Heading
from backlight.render import margin_of
from backlight.render.tiles import is_small
from backlight.web import links, views
from backlight.web.contexts import Card, LayerPage, LayerView, MapsPage, MapView, SiteView, Sprite
from backlight.web.sheets import KINDS, Sheet, draw_sheet, margin, shown_hits, tile_size
from backlight.web.site import environment

MAPS = 16
"""Cards of a layer, the first ones: all pictures are inside the notebook's file."""


def map_card(own: FeatureMap, heading: Heading, size: tuple[int, int]) -> str:
    """Return the card of a feature map as HTML.

    Args:
        own: The map.
        heading: What is known of its layer.
        size: Height and width of an image.
    """
    field = heading.receptive_field
    cut = 0 if field is None else margin_of([hit.tile for hit in shown_hits(own)])
    tile = tile_size(field, cut, size)
    layer = LayerView(
        name=own.layer,
        shape=(heading.n_maps,),
        n_maps=heading.n_maps,
        n_shown=1,
        n_dead=int(own.dead),
        field=None if field is None else field.size,
        tile=tile,
        is_small=is_small(*tile),
        rules=heading.rules,
    )
    bars, n_inactive = views.histogram(own, {})
    shown = MapView(
        card=_card(own, cut),
        mean=own.mean,
        n_active=round(own.active_share * heading.n_images),
        histogram=bars,
        n_inactive=n_inactive,
        foretelling="" if own.foretelling is None else own.foretelling.text,
    )
    return _drawn("notebook_map.html", MapsPage(_site(heading, size), layer, (shown,), ()))


def layer_card(layer: AtlasLayer, heading: Heading, size: tuple[int, int]) -> str:
    """Return the cards of a layer's first maps as HTML.

    Args:
        layer: The layer.
        heading: What is known of it.
        size: Height and width of an image.
    """
    cut = margin(layer)
    cards = tuple(_card(layer[channel], cut) for channel in layer.channels[:MAPS])
    dead = [layer[channel].dead for channel in layer.channels]
    view = views.layer_view(layer, tile_size(layer.receptive_field, cut, size), dead)
    return _drawn("notebook_layer.html", LayerPage(_site(heading, size), view, cards, 1, (), (), None, None))


def _site(heading: Heading, size: tuple[int, int]) -> SiteView:
    return SiteView(
        heading.network, heading.n_images, 0, size, "", heading.rules, False, False, __version__, "", False
    )


def _card(own: FeatureMap, cut: int) -> Card:
    """Return what a card shows, without addresses; its two pictures are data."""
    alone: Mapping[int, FeatureMap] = {own.channel: own}
    pictures = [
        _with_data(Sheet("", 1, 1).block(kind, 0), draw_sheet(alone, [own.channel], kind, cut))
        if own.hits
        else None
        for kind in KINDS
    ]
    return views.card_of(own, "", "", (pictures[0], pictures[1]), lambda label: "")


def _with_data(sprite: Sprite, picture: bytes) -> Sprite:
    return replace(sprite, href=links.inside(picture))


def _drawn(template: str, page: LayerPage | MapsPage) -> str:
    return environment().get_template(template).render(x=page, site=page.site)
