"""Pages without a family: the tray and the search, and what the atlas is of."""

from __future__ import annotations

from dataclasses import dataclass

from backlight.web.contexts.parts import SiteView


@dataclass(frozen=True)
class PlainPage:
    """A page whose content a script fills: the tray, the search.

    Attributes:
        site: What every page says.
    """

    site: SiteView


@dataclass(frozen=True)
class AboutPage:
    """What the atlas is of.

    Attributes:
        site: What every page says.
        fingerprint: Hash of the network's graph and weights.
        input_shape: (c, h, w) of an input.
        preprocessing: How pictures became inputs, by name.
        images_fingerprint: Hash of the names and sizes of the images.
        n_skipped: Number of pictures that could not be read.
        skipped: The first of them: file and reason.
        studies: By layer what the studies found, in words.
    """

    site: SiteView
    fingerprint: str
    input_shape: tuple[int, ...]
    preprocessing: dict[str, str]
    images_fingerprint: str
    n_skipped: int
    skipped: tuple[tuple[str, str], ...]
    studies: tuple[tuple[str, str], ...]
