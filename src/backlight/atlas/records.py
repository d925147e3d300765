"""What an atlas holds: images, hits, feature maps and evidence. What is large is fetched when it is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backlight.atlas.cards import as_png, card
from backlight.atlas.checksums import place
from backlight.atlas.damage import reading
from backlight.atlas.drawing import FigureLook, draw, show
from backlight.atlas.findings import Evidence, Foretold, Stability
from backlight.atlas.sources import BandExample as BandExample
from backlight.atlas.sources import StoredImage as StoredImage
from backlight.atlas.sources import StoredTile as StoredTile
from backlight.atlas.sources import TileKey as TileKey
from backlight.atlas.sources import TileSource as TileSource
from backlight.atlas.sources import patch_only, projection_only
from backlight.errors import AtlasError, BadInputError
from backlight.geometry import Box
from backlight.render import DEFAULT_SCALING, Scaling, Tile, scale
from backlight.storage.tiles import decode_activation, decode_picture, decode_projection
from backlight.text import counted

_NOT_PROJECTED = "it was not projected; extend(net, images, path, layer, maps=[channel]) adds it to the atlas"


@dataclass(frozen=True)
class Hit:
    """One of the strongest activations of a feature map.

    Attributes:
        rank: 0 for the strongest.
        value: The activation.
        image_id: The image that caused it.
        row: Row of the unit; None for a fully connected one.
        col: Column of the unit.
        box: What the unit sees of the preprocessed image, half-open; it may reach outside the image. The whole image
            where the receptive field is.
    """

    rank: int
    value: float
    image_id: int
    row: int | None
    col: int | None
    box: Box
    _source: TileSource = field(repr=False, compare=False)
    _key: TileKey = field(repr=False, compare=False)
    _map_size: tuple[int, int] | None = field(default=None, repr=False, compare=False)

    @property
    def image(self) -> StoredImage:
        """The image that caused it."""
        return self._source.image(self.image_id, self._key)

    @property
    def label(self) -> str | None:
        """The image's class, where the set knew one."""
        return self.image.label

    @property
    def whole(self) -> Image.Image | None:
        """The whole image as the network saw it (RGB); None where the atlas does not keep it."""
        return self._source.whole(self.image_id)

    @property
    def activation_map(self) -> NDArray[np.uint8] | None:
        """The map's activations over the whole image, (h, w), rectified: 255 is the map's maximum, the hit's value.

        None for a fully connected unit, and where the atlas does not keep them.
        """
        data = None if self._map_size is None else self._source.activation(self._key)
        if data is None or self._map_size is None:
            return None
        with reading(self._source.path, place("activation", self._key)):
            return decode_activation(data, self._map_size)

    @property
    def patch(self) -> Image.Image:
        """The part of the preprocessed image inside the box (RGB)."""
        with reading(self._source.path, self._source.tile_place(self._key)):
            return decode_picture(self._stored[0], self._size)

    @property
    def projection_values(self) -> NDArray[np.float32]:
        """The projection inside the box, (h, w, c), in the scale of the network's input."""
        _, codes, scale = self._stored
        with reading(self._source.path, self._source.tile_place(self._key)):
            return decode_projection(codes, scale, self._source.n_channels, self._size)

    @property
    def projection(self) -> Image.Image:
        """The projection as a picture: grey is zero."""
        return Image.fromarray(scale(self.projection_values))

    @property
    def tile(self) -> Tile:
        """The patch and the projection with their place in the image, as `backlight.render` takes them."""
        return Tile(np.asarray(self.patch), self.projection_values, self.box, self._source.image_size)

    @property
    def patch_tile(self) -> Tile:
        """The tile with zeros for its projection, which is not decoded."""
        return patch_only(self.patch, self.box, self._source)

    @property
    def projection_tile(self) -> Tile:
        """The tile with black for its patch, which is not decoded."""
        return projection_only(self.projection_values, self.box, self._source)

    @cached_property
    def _stored(self) -> StoredTile:
        return self._source.tile(self._key)

    @property
    def _size(self) -> tuple[int, int]:
        """Height and width of the part of the box inside the image, which the tile shows."""
        inside = self.box.clip(*self._source.image_size)
        return inside.height, inside.width

    @property
    def _reason(self) -> str | None:
        """Why there is no picture of it; None where there is."""
        try:
            _ = self._stored
        except AtlasError as error:
            return str(error)
        return None

    def __repr__(self) -> str:
        """Return the rank, the activation and where it is: `Hit(0: 24.13 in image 12 at row 13, column 0)`."""
        where = "" if self.row is None else f" at row {self.row}, column {self.col}"
        return f"Hit({self.rank}: {self.value:.4g} in image {self.image_id}{where})"

    def _repr_html_(self) -> str | None:
        return self._reason and card(f"activation {self.value:.4g} of image {self.image_id}", self._reason)

    def _repr_png_(self) -> bytes | None:
        return None if self._reason else as_png(draw("hit_figure", self))


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
        is_projected: Whether it was chosen for projection.
        histogram: Number of images by strongest activation, in the bins of `backlight.scan.HISTOGRAM_EDGES`.
        evidence: What `backlight faithfulness` found out about its projections; None before.
        foretelling: What `backlight foretelling` found out; None before.
        stability: At how many ranks another set of images would show hits as strong; None for a dead map, and in an
            atlas whose scan was begun by an earlier version.
        n_certain: How many hits, from the strongest on, are certain: the same on any machine, whatever its rounding.
            The others are so nearly equal, to each other or to images that are not shown, that they are not. None for a
            map that was not projected, and in an atlas of an earlier version.
    """

    layer: str
    channel: int
    hits: tuple[Hit, ...]
    mean: float
    max: float
    active_share: float
    is_projected: bool
    histogram: NDArray[np.int64] = field(repr=False, compare=False)
    evidence: Evidence | None = field(repr=False, compare=False)
    foretelling: Foretold | None = field(repr=False, compare=False)
    stability: Stability | None = field(repr=False, compare=False)
    _source: TileSource = field(repr=False, compare=False)
    n_certain: int | None = field(default=None, repr=False, compare=False)

    @property
    def dead(self) -> bool:
        """Whether it is active in no image of the set."""
        return self.active_share == 0

    @property
    def is_certain(self) -> bool:
        """Whether no hit is known to be uncertain; True where it is not known (`n_certain`)."""
        return self.n_certain is None or self.n_certain >= len(self.hits)

    @property
    def bands(self) -> tuple[BandExample, ...]:
        """An image of each bin of its histogram that has one, weakest first.

        Empty for a dead map, one that was not projected, and in an atlas of an earlier version.
        """
        return self._source.bands(self.channel)

    def figure(
        self, scaling: Scaling | str = DEFAULT_SCALING, full_field: bool = False, *, low_pass: bool = False
    ) -> Image.Image:
        """Return the projections of its hits beside their patches.

        Args:
            scaling: How values become colours.
            full_field: Draw whole receptive fields, even where the projections fill only their centre.
            low_pass: Average the projections over half a stride of the layer, as for `Atlas.figure`.

        Raises:
            BadInputError: It was not projected; a low-pass where half a stride is less than 2 pixels.
            AtlasError: The build is not finished.
        """
        look = FigureLook(scaling, full_field=full_field, low_pass=low_pass)
        return self._drawn("map_figure", look)

    def superposed(
        self, top: int | None = None, scaling: Scaling | str = DEFAULT_SCALING, full_field: bool = False
    ) -> Image.Image:
        """Return the projections of its hits superposed: aligned on the unit and added, beside the mean of the patches.

        Args:
            top: How many hits, the strongest ones; None takes all.
            scaling: How values become colours.
            full_field: Draw whole receptive fields, even where the projections fill only their centre.

        Raises:
            BadInputError: It was not projected, a top below 1, or receptive fields too large to be added up.
            AtlasError: The build is not finished.
        """
        return self._drawn("superposed_figure", FigureLook(scaling, full_field=full_field), top)

    def _drawn(self, figure: str, look: FigureLook, *options: object) -> Image.Image:
        if not self.is_projected:
            raise BadInputError(
                f"feature map {self.channel} of {self.layer!r} has no hits to draw: {_NOT_PROJECTED}"
            )
        return draw(figure, self._source.heading(), [self], look, *options)

    @property
    def _reason(self) -> str | None:
        """Why there is no picture of it; None where there is."""
        if not self.is_projected:
            return _NOT_PROJECTED
        return next((reason for hit in self.hits if (reason := hit._reason) is not None), None)

    def _repr_png_(self) -> bytes | None:
        return None if self._reason else as_png(self.figure())

    def __repr__(self) -> str:
        """Return it in short: `FeatureMap('relu2', 60: 9 hits, max 24.1, active in 81% of images)`."""
        known = f"max {self.max:.4g}, active in {self.active_share:.0%} of images"
        hits = counted(len(self.hits), "hit") if self.is_projected else "not projected"
        return f"FeatureMap({self.layer!r}, {self.channel}: {'dead' if self.dead else f'{hits}, {known}'})"

    def _repr_html_(self) -> str | None:
        facts = f"mean activation {self.mean:.4g}, largest {self.max:.4g}, active in {self.active_share:.1%} of images"
        facts += "" if self.stability is None else f", {self.stability.text}"
        title = f"{self.layer}, feature map {self.channel}: {facts}"
        if self._reason:
            return card(title, self._reason)
        return show("map_card", title, self, self._source.heading(), self._source.image_size)


@dataclass(frozen=True)
class UnitHit:
    """A hit with the feature map that it is of.

    Attributes:
        layer: The layer's name.
        channel: The feature map.
        hit: The hit.
    """

    layer: str
    channel: int
    hit: Hit
