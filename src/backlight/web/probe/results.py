"""What a probe answers: plain data, which `static/probe.js` shows.

Pictures are `data:` addresses, activations are in the network's own scale, lengths are pixels of the network's input.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ProbedImage:
    """An image that can be probed.

    Attributes:
        id: Its name here.
        name: Its file, as it was given.
        note: What to know of it; empty for nothing.
        picture: The image as the network sees it.
    """

    id: str
    name: str
    note: str
    picture: str


@dataclass(frozen=True)
class Strong:
    """A feature map, by its strongest unit in an image.

    Attributes:
        channel: The feature map.
        value: Its strongest activation.
        active: Where it is active, over the grid of its units.
        href: Its page; None where the atlas does not show it.
    """

    channel: int
    value: float
    active: str
    href: str | None


@dataclass(frozen=True)
class Looked:
    """What a layer finds in an image.

    Attributes:
        maps: The strongest feature maps, strongest first.
        n_active: Number of maps that are active anywhere in it.
        n_maps: Number of maps of the layer.
    """

    maps: tuple[Strong, ...]
    n_active: int
    n_maps: int


@dataclass(frozen=True)
class Projected:
    """A unit's projection by a rule set.

    Attributes:
        rules: The rule set.
        picture: The projection; empty where there is none.
        problem: Why there is none; empty where there is.
    """

    rules: str
    picture: str
    problem: str


@dataclass(frozen=True)
class Probed:
    """A unit in an image.

    Attributes:
        channel: The feature map.
        row: Row of the unit; None for a fully connected one.
        col: Column of the unit.
        value: Its activation.
        peak: The map's strongest activation in the image.
        stronger: Share of the atlas's images in which the map's strongest activation is larger than the unit's, 0 to 1;
            None where the map is active in none.
        href: The map's page; None where the atlas does not show it.
        grid: Rows and columns of the map's units; None for a fully connected one.
        active: Where the map is active, over the grid.
        light: What dims the image where the map is silent; None where a unit sees all of it.
        box: Top, left, height and width of what the unit sees.
        patch: What it saw.
        projections: Its projections.
        superposed: The projections of the map's three strongest units, added, over the image; empty where the map is
            silent, or its atlas's rules do not apply.
    """

    channel: int
    row: int | None
    col: int | None
    value: float
    peak: float
    stronger: float | None
    href: str | None
    grid: tuple[int, int] | None
    active: str
    light: str | None
    box: tuple[int, int, int, int]
    patch: str
    projections: tuple[Projected, ...]
    superposed: str


@dataclass(frozen=True)
class Occluded:
    """What covering each place of an image takes from a unit.

    Attributes:
        picture: The image as it is where covering takes most, flat and grey where it takes nothing.
        size: Side of the square that covered it.
        largest: Share of the activation that is lost at the worst place, 0 to 1, or more where it turns negative.
        box: Top, left, height and width of the square there.
        agreement: Rank correlation, over the squares, of how much is lost and how much the projection shows, -1 to 1;
            None where there is none.
    """

    picture: str
    size: int
    largest: float
    box: tuple[int, int, int, int]
    agreement: float | None


@dataclass(frozen=True)
class Inverted:
    """An image with the same activations in a layer.

    Attributes:
        picture: The image.
        error: Length of the difference of the activations, relative to that of the activations themselves.
        steps: Number of steps of the search.
        stopped: Why it ended.
    """

    picture: str
    error: float
    steps: int
    stopped: str
