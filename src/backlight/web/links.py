"""Links: every address of a site, in one place.

All pages lie side by side in one folder, so that links are the same served and on disk. Layers, labels and file names
may come from anybody: in an address they are slugs of plain letters, told apart by a number where two become the same.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable

INDEX, ABOUT, TRAY, SEARCH, CLASSES = "index.html", "about.html", "tray.html", "search.html", "classes.html"
COMPARE = "compare.html"
DIAGNOSIS, DIAGNOSED = "diagnosis.html", "sheets/diagnosis.webp"
UNITS = "data/units.js"
PROBE, PROBE_IMAGES, PROBE_JOBS = "probe.html", "probe/images", "probe/jobs"
EVOLUTION = "evolution"
"""What the sheets of a training's steps are called among those of a page of feature maps."""

PER_PAGE = 64
"""Maps, or images, of one page, and maps of one sheet."""

PER_WHOLES = 16
"""Whole images of one sheet: few, as the hits of a map are spread over many."""

_LONGEST = 80


def slugs(names: Iterable[str]) -> dict[str, str]:
    """Return for each name one that is safe in an address and in a file name, and of no other name.

    Example:
        >>> slugs(["features.0", "a b", "a/b"])
        {'features.0': 'features.0', 'a b': 'a_b', 'a/b': 'a_b-2'}
    """
    found: dict[str, str] = {}
    used: set[str] = set()
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9._]", "_", name)[:_LONGEST].lstrip(".") or "_"
        slug, n = plain, 1
        # not all file systems tell capitals apart
        while slug.casefold() in used:
            n += 1
            slug = f"{plain}-{n}"
        used.add(slug.casefold())
        found[name] = slug
    return found


def page_of(place: int) -> int:
    """Return the number, from 1, of the page of the item at a place, from 0."""
    return place // PER_PAGE + 1


def n_pages(n_items: int) -> int:
    """Return how many pages so many items fill, at least one."""
    return max(1, -(-n_items // PER_PAGE))


def layer(slug: str, page: int = 1) -> str:
    """Return the address of a layer's page."""
    return f"layer-{slug}.html" if page == 1 else f"layer-{slug}--{page}.html"


def wall(slug: str) -> str:
    """Return the address of the wall of all of a layer's maps."""
    return f"wall-{slug}.html"


def maps(slug: str, page: int) -> str:
    """Return the address of a page of feature maps."""
    return f"maps-{slug}--{page}.html"


def feature_map(slug: str, place: int, channel: int) -> str:
    """Return the address of a feature map, which is at a place among those of its layer."""
    return f"{maps(slug, page_of(place))}#m{channel}"


def images(page: int) -> str:
    """Return the address of a page of images."""
    return f"images--{page}.html"


def image(place: int, image_id: int) -> str:
    """Return the address of an image, which is at a place among those that are hits."""
    return f"{images(page_of(place))}#i{image_id}"


def probed(what: str) -> str:
    """Return the address of the probe with a feature map chosen, by its name in the tray, or an image by `atlas-ID`."""
    return f"{PROBE}#{what}"


def label(number: int) -> str:
    """Return the address of a class, by its number among the labels."""
    return f"{CLASSES}#c{number}"


def compared(slug: str, page: int = 1) -> str:
    """Return the address of a page of a layer's maps beside those of another atlas."""
    return f"compare-{slug}.html" if page == 1 else f"compare-{slug}--{page}.html"


def twin(page: str) -> str:
    """Return the address of a page's context as JSON."""
    return page.removesuffix(".html") + ".json"


def cards(slug: str, page: int) -> str:
    """Return the address of the script with the cards of a layer's further page."""
    return f"data/cards-{slug}--{page}.js"


def sheet(slug: str, page: int, kind: str) -> str:
    """Return the address of a sheet of a page of feature maps: `projections`, `patches`, `light`, of bands or steps."""
    return f"sheets/{slug}--{page}-{kind}.webp"


def sheet_in_order(slug: str) -> str:
    """Return what takes the place of a layer's slug in the sheets whose maps are in the order of a comparison.

    No slug of a layer is like it: slugs have no hyphen before a letter.
    """
    return f"compare-{slug}"


def sheet_beside(slug: str) -> str:
    """Return what takes the place of a layer's slug in the sheets of the other atlas; no slug of a layer is like it."""
    return f"beside-{slug}"


def wholes(page: int) -> str:
    """Return the address of a sheet of whole images."""
    return f"sheets/images--{page}.webp"


def dated(sheet: str, version: str) -> str:
    """Return the address of a sheet as pages refer to it: another one when its pictures are others.

    So a browser may keep a sheet for ever, and never shows one of an atlas that was served, or stood, here before.
    """
    return f"{sheet}?v={version}" if version else sheet


def inside(picture: bytes) -> str:
    """Return a picture, PNG or WebP, as the address of itself."""
    kind = "png" if picture.startswith(b"\x89PNG") else "webp"
    return f"data:image/{kind};base64,{b64encode(picture).decode()}"


def static(name: str) -> str:
    """Return the address of a file that comes with Backlight."""
    return f"static/{name}"
