"""The hits of an atlas as a table, one row a hit: what other programs read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from backlight.atlas.reader import Atlas


@dataclass(frozen=True)
class HitRow:
    """A hit with all that is known of it, but its pictures.

    Attributes:
        layer: The layer's name.
        channel: The feature map.
        rank: 0 for the strongest hit of the map.
        value: The activation.
        image_id: The image's number in the set.
        image: The image's path in the set.
        label: Its class, where the set knew one.
        row: Row of the unit; None for a fully connected one.
        col: Column of the unit.
        top: Of the box that the unit sees of the preprocessed image, half-open; it may reach outside the image.
        left: Of the box.
        bottom: Of the box.
        right: Of the box.
        n_certain: How many hits of the map, from the strongest on, are the same on any machine; None in an atlas of an
            earlier version.
        map_mean: Mean activation of the map over all positions of all images.
        map_max: Its strongest activation.
        map_active_share: Share of the images in which it is active.
    """

    layer: str
    channel: int
    rank: int
    value: float
    image_id: int
    image: str
    label: str | None
    row: int | None
    col: int | None
    top: int
    left: int
    bottom: int
    right: int
    n_certain: int | None
    map_mean: float
    map_max: float
    map_active_share: float


def hit_table(atlas: Atlas) -> Iterator[HitRow]:
    """Yield the hits of all feature maps that were chosen for projection, by layer, channel and rank.

    One feature map is in memory at a time. A build that has scanned its images need not be finished.

    Raises:
        AtlasError: The scan is not finished.
        DamagedAtlasError: Something is not what was written.
    """
    for layer in atlas.layers:
        for channel in layer.channels:
            own = layer[channel]
            for hit in own.hits:
                image = hit.image
                yield HitRow(
                    layer.name,
                    channel,
                    hit.rank,
                    hit.value,
                    hit.image_id,
                    image.path,
                    image.label,
                    hit.row,
                    hit.col,
                    hit.box.top,
                    hit.box.left,
                    hit.box.bottom,
                    hit.box.right,
                    own.n_certain,
                    own.mean,
                    own.max,
                    own.active_share,
                )
