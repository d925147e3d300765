"""Pages of a layer: its maps in a grid, one by one, and on a wall."""

from __future__ import annotations

from dataclasses import dataclass

from backlight.web.contexts.parts import Card, LayerView, MapView, SiteView


@dataclass(frozen=True)
class LayerPage:
    """A page of a layer's maps.

    Attributes:
        site: What every page says.
        layer: The layer.
        cards: The maps of this page.
        page: Its number, from 1.
        pages: Addresses of all pages of the layer.
        scripts: Addresses of the scripts with the cards of the pages after the first.
        before: Address of the layer before it; None for the first.
        after: Address of the layer after it.
    """

    site: SiteView
    layer: LayerView
    cards: tuple[Card, ...]
    page: int
    pages: tuple[str, ...]
    scripts: tuple[str, ...]
    before: str | None
    after: str | None


@dataclass(frozen=True)
class Scale:
    """A scale that projections can be shown in.

    Attributes:
        name: Its name.
        caption: What colour means, in words.
        sheet: The sheet of the page's projections in this scale.
    """

    name: str
    caption: str
    sheet: str


@dataclass(frozen=True)
class MapsPage:
    """A page of feature maps, of which one is shown at a time.

    Attributes:
        site: What every page says.
        layer: The layer.
        maps: The maps.
        scales: The scales that projections can be shown in, the one shown at first first.
    """

    site: SiteView
    layer: LayerView
    maps: tuple[MapView, ...]
    scales: tuple[Scale, ...]


@dataclass(frozen=True)
class WallPage:
    """All maps of a layer.

    Attributes:
        site: What every page says.
        layer: The layer.
        cards: Its maps.
    """

    site: SiteView
    layer: LayerView
    cards: tuple[Card, ...]
