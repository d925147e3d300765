"""A site: from an address to the bytes that stand there, and the list of all addresses."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache, partial
from importlib.resources import files
from threading import Lock
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from backlight.atlas import Atlas
from backlight.web import links, pages
from backlight.web.comparing import Compared
from backlight.web.contexts import Card, Page
from backlight.web.diagnosing import Diagnosed
from backlight.web.evolving import Evolved
from backlight.web.sheets import BANDS, KINDS, LIGHT, SCALED, draw_bands, draw_light, draw_sheet, draw_wholes
from backlight.web.views import Views

if TYPE_CHECKING:
    from backlight.studies.diagnosis import Diagnosis
    from backlight.studies.evolution import EvolutionResult

POLICY = (
    "default-src 'none'; img-src 'self' data: file:; style-src 'self' file:; script-src 'self' file:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'"
)
"""The Content-Security-Policy: nothing from elsewhere, and no script or style within a page."""

STATIC, PROBE_SCRIPT = ("backlight.css", "backlight.js"), "probe.js"
_TYPES = {
    "html": "text/html; charset=utf-8",
    "json": "application/json",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "webp": "image/webp",
}


@dataclass(frozen=True)
class Answer:
    """What stands at an address.

    Attributes:
        content: Its bytes.
        media_type: What they are.
    """

    content: bytes
    media_type: str


class Site:
    """The site of an atlas.

    Args:
        atlas: A finished atlas.
        beside: Another one, whose maps are shown beside those of the same name.
        evolution: The evolution of its feature maps in a training, which their pages show.
        diagnosis: What is wrong with its network, which has a page of its own.
        has_probe: Whether it has the page to probe images of one's own, which works only where it is served.

    Attributes:
        views: What its pages know of the atlas.
        lock: To be held while the atlas is read in a server, since it has one connection.

    Raises:
        BadInputError: The two cannot be compared, or the evolution is of other feature maps.

    Example:
        >>> import backlight
        >>> site = Site(backlight.open_atlas("a.atlas"))  # doctest: +SKIP
        >>> site.answer("index.html").media_type  # doctest: +SKIP
        'text/html; charset=utf-8'
    """

    def __init__(
        self,
        atlas: Atlas,
        beside: Atlas | None = None,
        evolution: EvolutionResult | None = None,
        diagnosis: Diagnosis | None = None,
        *,
        has_probe: bool = False,
    ) -> None:
        evolved = None if evolution is None else Evolved(evolution, atlas)
        self.views = Views(atlas, beside, evolved, diagnosis, has_probe=has_probe)
        self.diagnosed = None if diagnosis is None else Diagnosed(self.views, diagnosis)
        self.lock = Lock()
        self.compared = None if beside is None else Compared(self.views, beside)
        self._latest: tuple[str, Page] | None = None

    @cached_property
    def _makers(self) -> dict[str, Callable[[], bytes]]:
        """What makes the content of each address."""
        views, atlas = self.views, self.views.atlas
        found: dict[str, Callable[[], bytes]] = {}

        def add(path: str, template: str, context: Callable[[], Page]) -> None:
            own = partial(self._context, path, context)
            found[path] = partial(self._page, template, own)
            found[links.twin(path)] = partial(self._twin, own)

        add(links.INDEX, "network.html", partial(pages.network, views))
        for name, slug in views.slugs.items():
            channels = atlas[name].channels
            for page in range(1, links.n_pages(len(channels)) + 1):
                add(links.layer(slug, page), "layer.html", partial(pages.layer, views, name, page))
                add(links.maps(slug, page), "maps.html", partial(pages.maps, views, name, page))
                if page > 1:
                    found[links.cards(slug, page)] = partial(self._cards, name, page)
                own = channels[(page - 1) * links.PER_PAGE : page * links.PER_PAGE]
                for kind in self._kinds(name) if own else ():
                    found[links.sheet(slug, page, kind)] = partial(self._sheet, name, own, kind)
                for kind in views.by_rules.kinds if own else ():
                    found[links.sheet(slug, page, kind)] = partial(views.by_rules.sheet, name, own, kind)
                if views.evolved is not None and views.evolved.followed(name, own):
                    steps = partial(views.evolved.sheet, name, own)
                    found[links.sheet(slug, page, links.EVOLUTION)] = steps
            add(links.wall(slug), "wall.html", partial(pages.wall, views, name))
        for page in range(1, links.n_pages(len(views.units)) + 1):
            add(links.images(page), "images.html", partial(pages.images, views, page))
        for page in range(1, -(-len(views.units) // links.PER_WHOLES) + 1) if views.has_wholes else ():
            found[links.wholes(page)] = partial(self._wholes, page)
        add(links.CLASSES, "classes.html", partial(pages.classes, views))
        add(links.TRAY, "tray.html", partial(pages.plain, views))
        add(links.SEARCH, "search.html", partial(pages.plain, views))
        add(links.ABOUT, "about.html", partial(pages.about, views))
        if self.compared is not None:
            add(links.COMPARE, "compare.html", self.compared.summary)
            for path, layer in self.compared.pages.items():
                add(path, "compare-layer.html", layer)
            found |= self.compared.sheets
        if self.diagnosed is not None:
            add(links.DIAGNOSIS, "diagnosis.html", self.diagnosed.page)
            if self.diagnosed.has_sheet:
                found[links.DIAGNOSED] = self.diagnosed.sheet
        found[links.UNITS] = self._units
        if views.has_probe:
            add(links.PROBE, "probe.html", partial(pages.probe, views))
        for name in (*STATIC, PROBE_SCRIPT) if views.has_probe else STATIC:
            found[links.static(name)] = partial(_static, name)
        return found

    @property
    def paths(self) -> Iterator[str]:
        """The addresses."""
        return iter(self._makers)

    def answer(self, path: str) -> Answer | None:
        """Return what stands at an address; None where there is nothing."""
        make = self._makers.get(path)
        if make is None:
            return None
        return Answer(make(), _TYPES[path.rpartition(".")[2]])

    def _context(self, path: str, make: Callable[[], Page]) -> Page:
        """Return the context of a page; the latest is kept, as a page and its twin are often wanted together."""
        latest = self._latest
        if latest is None or latest[0] != path:
            latest = self._latest = path, make()
        return latest[1]

    def _page(self, template: str, context: Callable[[], Page]) -> bytes:
        own = context()
        text = environment().get_template(template).render(x=own, site=own.site)
        return text.encode()

    @staticmethod
    def _twin(context: Callable[[], Page]) -> bytes:
        return json.dumps(asdict(context()), ensure_ascii=False, allow_nan=False).encode()

    def _kinds(self, name: str) -> tuple[str, ...]:
        """Return the kinds of sheets that a layer has."""
        light = (LIGHT,) if self.views.has_light(name) else ()
        return (*KINDS, *SCALED.values(), *light, *(BANDS if self.views.has_bands(name) else ()))

    def _sheet(self, name: str, channels: Sequence[int], kind: str) -> bytes:
        layer = self.views.atlas[name]
        if kind == LIGHT:
            return draw_light(layer, channels, self.views.atlas.preprocessing.crop)
        draw = draw_bands if kind in BANDS else draw_sheet
        return draw(layer, channels, kind, self.views.margin(name))

    def _wholes(self, page: int) -> bytes:
        ids = list(self.views.units)[(page - 1) * links.PER_WHOLES : page * links.PER_WHOLES]
        images = self.views.atlas.images
        return draw_wholes([images.whole(image_id) for image_id in ids], self.views.atlas.preprocessing.crop)

    def _cards(self, name: str, page: int) -> bytes:
        """Return the script that hands a page of cards, as they would stand in HTML, to the layer's page."""
        macros = environment().get_template("macros.html").module
        cards = pages.layer(self.views, name, page).cards
        drawn = [str(macros.card(card, self.views.layer(name), True)) for card in cards]  # type: ignore[attr-defined]
        return _script("cards", page, drawn)

    def _units(self) -> bytes:
        """Return the script with what the tray and the search know of every map."""
        views = self.views
        layers = [[own.name, own.href, own.is_small] for own in (views.layer(name) for name in views.atlas)]
        rows = [_unit(card, i) for i, name in enumerate(views.atlas) for card in views.cards(name).values()]
        return _script("units", layers, rows)


def _unit(card: Card, layer: int) -> list[Any]:
    sprite = card.projections
    place = [sprite.href, sprite.width, sprite.height, sprite.left, sprite.top, sprite.side] if sprite else []
    patches = card.patches.href if card.patches else ""
    words = [own.label for own in card.labels] + list(card.files)
    return [card.id, layer, card.channel, card.href, card.max, card.active_share, place, patches, words]


def _script(name: str, *values: Any) -> bytes:
    """Return a script that calls `backlight.NAME` with values; what could end a script element is escaped."""
    text = ", ".join(json.dumps(value, ensure_ascii=True, allow_nan=False) for value in values)
    return f"backlight.{name}({text});\n".replace("</", "<\\/").encode()


def _static(name: str) -> bytes:
    return (files("backlight.web") / "static" / name).read_bytes()


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Return what renders templates: every value is text, and one that is not there is an error."""
    environment = Environment(
        loader=PackageLoader("backlight.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": _number,
        "percent": _percent,
        "breaks": _breaks,
        "control": _control,
        "sentence": _sentence,
    }
    environment.globals |= {"links": links, "policy": POLICY}
    return environment


def _number(value: float) -> str:
    """Return an activation as people read it."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}".replace("%", "\u202f%")


def _breaks(name: str) -> Markup:
    """Return a name that may break behind its dots."""
    return (
        Markup("<wbr>").join(Markup(escape(part)) + "." for part in name.split(".")[:-1])
        + (Markup("<wbr>") if "." in name else Markup(""))
        + escape(name.rpartition(".")[2])
    )


def _sentence(words: str) -> Markup:
    """Return words as a sentence; what stands between backticks is code."""
    parts = words.split("`")
    codes = [
        escape(part) if i % 2 == 0 else Markup("<code>{}</code>").format(part) for i, part in enumerate(parts)
    ]
    found = Markup("").join(codes)
    return found[:1].upper() + found[1:] + ("" if words.endswith((".", "!", "?")) else ".")


def _control(name: str) -> str:
    """Return a control in plain words."""
    return {
        "turned": "the same pixels turned",
        "centre": "a disc at the middle",
        "random": "random pixels",
        "sobel": "edges",
        "other map": "another map’s projection",
        "other image": "another image’s projection",
    }.get(name, name)
