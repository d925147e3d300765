"""What an atlas holds: images, hits and feature maps."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backlight.atlas import checks
from backlight.atlas.checksums import place
from backlight.atlas.damage import damaged, reading
from backlight.atlas.evidence import Evidence
from backlight.atlas.opening import how_to_finish
from backlight.errors import AtlasError
from backlight.geometry import Box
from backlight.render import Tile, draw_patch, draw_projection, scale, strip
from backlight.storage.tiles import decode_picture, decode_projection

if TYPE_CHECKING:
    from backlight.atlas.reader import Atlas


@dataclass(frozen=True)
class StoredImage:
    """An image of the set.

    Attributes:
        id: Its id, as hits name it.
        path: Where it lay, relative to the set.
        label: Its class, where the set knew one.
        size: Height and width as it was, before preprocessing.
    """

    id: int
    path: str
    label: str | None
    size: tuple[int, int]


@dataclass(frozen=True)
class SkippedImage:
    """A picture that could not be read, with the reason."""

    id: int
    path: str
    reason: str


@dataclass(frozen=True)
class Hit:
    """One of the strongest activations of a feature map.

    Attributes:
        rank: 0 for the strongest.
        value: The activation.
        image_id: The image that caused it.
        row: Row of the unit; None for a fully connected one.
        col: Column of the unit.
        box: What the unit sees of the preprocessed image, half-open; it may leave the image. The whole image
            where the receptive field is.
    """

    rank: int
    value: float
    image_id: int
    row: int | None
    col: int | None
    box: Box
    _atlas: Atlas = field(repr=False, compare=False)
    _key: tuple[int, int, int] = field(repr=False, compare=False)

    @property
    def image(self) -> StoredImage:
        """The image that caused it."""
        found = self._atlas.images.get(self.image_id)
        if found is None:
            where = f"table hit (layer_id {self._key[0]}, channel {self._key[1]}, rank {self.rank})"
            raise damaged(self._atlas.path, where, f"there is no image {self.image_id}")
        return found

    @property
    def patch(self) -> Image.Image:
        """The part of the preprocessed image inside the box (RGB)."""
        with reading(self._atlas.path, place("tile", self._key)):
            return decode_picture(self._blobs[0], self._size)

    @property
    def projection_values(self) -> NDArray[np.float32]:
        """The projection inside the box, (h, w, c), in the scale of the network's input."""
        _, codes, scale = self._blobs
        with reading(self._atlas.path, place("tile", self._key)):
            return decode_projection(codes, scale, self._atlas.n_channels, self._size)

    @property
    def projection(self) -> Image.Image:
        """The projection as a picture: grey is zero."""
        return Image.fromarray(scale(self.projection_values))

    @cached_property
    def _blobs(self) -> tuple[bytes, bytes, float]:
        (rows,) = self._atlas.group("tile", *self._key)
        if not rows:
            if self._atlas.phase != "done":
                raise AtlasError(
                    f"hit {self.rank} of channel {self._key[1]} is not projected yet",
                    **how_to_finish(self._atlas.path),
                )
            (rows,) = self._atlas.group("tile", *self._key)  # a build may just have written it
        if not rows:
            raise damaged(self._atlas.path, place("tile", self._key), "the projection is missing")
        with reading(self._atlas.path, place("tile", self._key)):
            return checks.tile(*rows[0])

    @property
    def _size(self) -> tuple[int, int]:
        """Height and width of the part of the box inside the image, which the tile shows."""
        inside = self.box.clip(*self._atlas.preprocessing.crop)
        return inside.height, inside.width

    @property
    def tile(self) -> Tile:
        """The patch and the projection with their place in the image, as `backlight.render` takes them."""
        size = self._atlas.preprocessing.crop
        return Tile(np.asarray(self.patch), self.projection_values, self.box, size)

    @property
    def _reason(self) -> str | None:
        """Why there is no picture of it; None where there is."""
        try:
            _ = self._blobs
        except AtlasError as error:
            return str(error)
        return None

    def _repr_html_(self) -> str | None:
        return self._reason and _card(f"activation {self.value:.4g} of image {self.image_id}", self._reason)

    def _repr_png_(self) -> bytes | None:
        if self._reason:
            return None
        name = self.image.path
        place = "" if self.row is None else f" at row {self.row}, column {self.col}"
        pictures = [("projection", draw_projection(self.tile, 224)), ("patch", draw_patch(self.tile, 224))]
        return as_png(strip(pictures, f"{self.value:.4g}{place} of {name}", "Grey is zero."))


@dataclass(frozen=True)
class FeatureMap:
    """A feature map of an atlas.

    Attributes:
        layer: The layer's name.
        channel: The feature map.
        hits: Its strongest activations, strongest first; empty for a dead map, or one that was not projected.
        mean: Mean activation over all positions of all images.
        max: The strongest activation.
        active_share: Share of the images in which it is active (above zero) anywhere.
        histogram: Number of images by strongest activation, in the bins of `backlight.scan.HISTOGRAM_EDGES`.
        evidence: What `backlight faithfulness` found out about its projections; None before.
    """

    layer: str
    channel: int
    hits: tuple[Hit, ...]
    mean: float
    max: float
    active_share: float
    histogram: NDArray[np.int64] = field(repr=False, compare=False)
    evidence: Evidence | None = field(repr=False, compare=False)
    _atlas: Atlas = field(repr=False, compare=False)

    @property
    def dead(self) -> bool:
        """Whether it is active in no image of the set."""
        return self.active_share == 0

    @property
    def _reason(self) -> str | None:
        """Why there is no picture of it; None where there is."""
        if self.channel not in self._atlas[self.layer].channels:
            return "it was not projected; build an atlas with maps=None to project all"
        return next((reason for hit in self.hits if (reason := hit._reason) is not None), None)

    def _repr_png_(self) -> bytes | None:
        return None if self._reason else as_png(self._atlas.figure(self.layer, [self.channel]))

    def _repr_html_(self) -> str | None:
        facts = f"mean activation {self.mean:.4g}, largest {self.max:.4g}, active in {self.active_share:.1%} of images"
        return self._reason and _card(f"{self.layer}, feature map {self.channel}: {facts}", self._reason)


def _card(title: str, reason: str) -> str:
    """Return for a notebook what is known of a thing without a picture, and why it has none."""
    return f"<p>{escape(title)}</p><p>No picture: {escape(reason)}.</p>"


def as_png(picture: Image.Image) -> bytes:
    """Return a picture as PNG bytes."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
