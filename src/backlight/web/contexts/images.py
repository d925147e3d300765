"""Pages of images and classes."""

from __future__ import annotations

from dataclasses import dataclass

from backlight.web.contexts.parts import Card, HitView, SiteView, Sprite


@dataclass(frozen=True)
class ImageUnit:
    """A unit that an image is a hit of.

    Attributes:
        layer: The layer's name.
        channel: The feature map.
        href: The map's page.
        hit: The hit.
    """

    layer: str
    channel: int
    href: str
    hit: HitView


@dataclass(frozen=True)
class ImageView:
    """An image.

    Attributes:
        id: Its id.
        file: Its file.
        label: Its class.
        label_href: The class's page.
        size: Height and width before preprocessing.
        whole: The image as the network saw it; None where the atlas does not keep it.
        units: The units that it is a hit of, in the order of the layers.
    """

    id: int
    file: str
    label: str | None
    label_href: str | None
    size: tuple[int, int]
    whole: Sprite | None
    units: tuple[ImageUnit, ...]


@dataclass(frozen=True)
class ImagesPage:
    """A page of the images that are hits.

    Attributes:
        site: What every page says.
        images: The images.
        page: Its number, from 1.
        pages: Addresses of all such pages.
    """

    site: SiteView
    images: tuple[ImageView, ...]
    page: int
    pages: tuple[str, ...]


@dataclass(frozen=True)
class ClassView:
    """A class.

    Attributes:
        number: Its number among the labels.
        label: Its name.
        cards: Maps of which most hits have this label.
        images: Images of it that are hits: file and address.
    """

    number: int
    label: str
    cards: tuple[Card, ...]
    images: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class ClassesPage:
    """The classes.

    Attributes:
        site: What every page says.
        classes: The classes that hits have, by name.
    """

    site: SiteView
    classes: tuple[ClassView, ...]
