"""Hits: which maps to search over a set of images, and the strongest activations found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from backlight.adaptive.config import AdaptiveConfig
from backlight.adaptive.inference import CodeValues, check_values
from backlight.errors import BadInputError
from backlight.geometry import Box
from backlight.images import Skipped


@dataclass(frozen=True)
class HitSearch:
    """Which layers and feature maps to search, and for how many hits.

    Attributes:
        layers: From 1; None for all.
        maps: Feature maps of each layer: the size of a random sample, a list of maps, or None for all.
        top: Hits per feature map, at most one from each image.
        seed: Random seed of the sample, which does not depend on the images.
        batch: Images at a time; hits do not depend on it, up to rounding.
        values: "shrunk" or "refitted", as for `infer`. Refitted values cancel each other more, and the strongest of
            them resemble less what they lie on.

    Raises:
        BadInputError: A number out of range, nothing to search, or unknown values.
    """

    layers: tuple[int, ...] | None = None
    maps: int | tuple[int, ...] | None = None
    top: int = 9
    seed: int = 0
    batch: int = 16
    values: CodeValues = "shrunk"

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        number = self.maps if isinstance(self.maps, int) else 1
        if min(self.top, self.batch, number) < 1 or self.seed < 0:
            raise BadInputError(
                f"top, batch and the number of maps must be at least 1 and the seed at least 0, "
                f"got {self.top}, {self.batch}, {number} and {self.seed}"
            )
        if self.layers == () or self.maps == ():
            raise BadInputError("a search needs at least 1 layer and 1 map, got none; None searches all")
        check_values(self.values)

    def channels(self, config: AdaptiveConfig, layer: int) -> tuple[int, ...]:
        """Return the feature maps to search in a layer, from 1, in order.

        Raises:
            BadInputError: There is no such layer, or no such map in it.

        Example:
            >>> from backlight.adaptive import PRESETS
            >>> HitSearch(maps=(3, 1)).channels(PRESETS["small"], 1)
            (1, 3)
        """
        n_maps = config.layers[config.check_layer(layer) - 1].maps
        if self.maps is None:
            return tuple(range(n_maps))
        if isinstance(self.maps, int):
            # the first of one order of all maps: a larger sample has those of a smaller one
            drawn = np.random.default_rng([self.seed, layer]).permutation(n_maps)[: self.maps]
            return tuple(sorted(int(channel) for channel in drawn))
        for channel in self.maps:
            if not 0 <= channel < n_maps:
                raise BadInputError(
                    f"map {channel} is out of range for layer {layer} ({n_maps} feature maps, from 0)"
                )
        return tuple(sorted(set(self.maps)))


@dataclass(frozen=True, eq=False)
class FilterHit:
    """A strong activation of a feature map: the strongest of its image.

    Attributes:
        value: Signed.
        image_id: Id of the image.
        row: Its row in the feature map.
        col: Its column.
        box: Its receptive field in the prepared image; may reach beyond it.
        projection: (h, w, c) its projection on the part of the box inside the image, signed.
        patch: (h, w, 3) uint8 the image there, before contrast normalisation.
    """

    value: float
    image_id: int
    row: int
    col: int
    box: Box
    projection: Float[np.ndarray, "h w c"]
    patch: UInt8[np.ndarray, "h w 3"]


@dataclass(frozen=True, eq=False)
class MapHits:
    """The hits of one feature map.

    Attributes:
        layer: From 1.
        channel: The feature map.
        hits: By magnitude, strongest first, then by image id; empty if the map is never active.
    """

    layer: int
    channel: int
    hits: tuple[FilterHit, ...]


@dataclass(frozen=True, eq=False)
class FoundHits:
    """The hits that a search found.

    Attributes:
        maps: By layer, then feature map.
        wanted: What was searched.
        image_size: Height and width of a prepared image.
        n_images: Number of images searched.
        skipped: Images that could not be read.
    """

    maps: tuple[MapHits, ...]
    wanted: HitSearch
    image_size: tuple[int, int]
    n_images: int
    skipped: tuple[Skipped, ...]

    def of(self, layer: int) -> tuple[MapHits, ...]:
        """Return the feature maps of a layer, from 1.

        Raises:
            BadInputError: The layer was not searched.
        """
        found = tuple(own for own in self.maps if own.layer == layer)
        if not found:
            known = ", ".join(map(str, sorted({own.layer for own in self.maps})))
            raise BadInputError(f"layers {known} were searched, but layer {layer} was asked for")
        return found
