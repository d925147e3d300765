"""Reading the examples of a map's bands: one image for each bin of its histogram."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from backlight.atlas import checks
from backlight.atlas.checksums import place
from backlight.atlas.contents import Contents
from backlight.atlas.damage import reading
from backlight.atlas.sources import BandExample, TileSource
from backlight.geometry import ReceptiveField
from backlight.scan.statistics import HISTOGRAM_EDGES, N_BINS
from backlight.storage.tiles import tile_box


@dataclass(frozen=True)
class BandReader:
    """Reads the examples of a layer's maps.

    Attributes:
        contents: What is open.
        layer_id: The layer.
        shape: (c, h, w), or (c,) for a fully connected layer.
        field: What a unit sees; None for the whole image.
        source: Returns where the examples fetch their tiles.
    """

    contents: Contents
    layer_id: int
    shape: tuple[int, ...]
    field: ReceptiveField | None
    source: Callable[[], TileSource]

    def __call__(self, channel: int) -> tuple[BandExample, ...]:
        """Return the examples of a map's bands, bin by bin; none in an atlas of an earlier format.

        None under other rules than the atlas's own, which only hits are projected by.
        """
        file = self.contents.file
        if not file.has_bands or self.contents.rule_layers is not None:
            return ()
        (rows,) = file.group("band", self.layer_id, channel)
        with reading(file.path, place("band", (self.layer_id, channel))):
            found = tuple(self._example(channel, row) for row in rows)
            if len({own.bin for own in found}) < len(found):
                raise ValueError("a bin has two examples")
            return found

    def _example(self, channel: int, values: tuple[Any, ...]) -> BandExample:
        """Return an example, its values checked: it lies in its bin, and its unit in the map."""
        bin, value, image_id, row, col = values
        checks.whole(bin, "bin", 1, N_BINS - 1)
        low, high = (float(edge) for edge in (HISTOGRAM_EDGES[bin - 1], (*HISTOGRAM_EDGES, np.inf)[bin]))
        if not low < checks.real(value, "value") <= high:
            raise ValueError(f"value must be above {low:g} and at most {high:g} in bin {bin}, got {value:g}")
        checks.unit(row, col, self.shape)
        identity = self.contents.identity
        return BandExample(
            bin,
            low,
            high,
            float(value),
            checks.whole(image_id, "image_id", 0, identity.image_set.n_images - 1),
            row,
            col,
            tile_box(self.field, row, col, identity.preprocessing.crop),
            self.source(),
            (self.layer_id, channel, bin),
        )
