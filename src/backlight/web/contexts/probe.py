"""The page that takes an image of one's own."""

from __future__ import annotations

from dataclasses import dataclass

from backlight.web.contexts.parts import SiteView, Sprite


@dataclass(frozen=True)
class ProbeLayer:
    """A layer that can be probed.

    Attributes:
        name: The layer's name.
        slug: Its name in addresses.
        shape: (c, h, w), or (c,) for a fully connected one.
        rules: The rule set of the atlas's projections.
        middles: Down and across, the pixel in the middle of what the first unit sees, and pixels from one unit to the
            next; empty where all units see the same.
    """

    name: str
    slug: str
    shape: tuple[int, ...]
    rules: str
    middles: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Pick:
    """An image of the atlas to begin with.

    Attributes:
        id: Its name in the probe.
        file: Its file.
        whole: The image; None where the atlas does not keep it.
    """

    id: str
    file: str
    whole: Sprite | None


@dataclass(frozen=True)
class ProbePage:
    """The page that takes an image of one's own.

    Attributes:
        site: What every page says.
        layers: The layers, in the order of the graph.
        picks: Some images of the atlas; none where it does not keep them.
        largest: Bytes that a picture may have.
    """

    site: SiteView
    layers: tuple[ProbeLayer, ...]
    picks: tuple[Pick, ...]
    largest: int
