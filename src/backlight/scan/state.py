"""The state of a scan: top hits, statistics, and an example of each band, for every feature map; mergeable.

Memory does not grow with the number of images: for each feature map a scan holds k hits of either half of the images,
a histogram, and an image for each of its bins.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from backlight.errors import BadInputError
from backlight.images.skipped import Skipped
from backlight.network import Layer
from backlight.scan.bands import Bands
from backlight.scan.halves import HalvedHits
from backlight.scan.statistics import MapStatistics, bins_of
from backlight.scan.topk import TopHits
from backlight.text import counted


@dataclass(frozen=True)
class LayerScan:
    """What a scan found out about one layer.

    Attributes:
        halves: The strongest hits of every feature map, in either half of the images.
        statistics: Statistics of every feature map.
        bands: An example for each bin of their histograms; None where an earlier version began the scan.
    """

    halves: HalvedHits
    statistics: MapStatistics
    bands: Bands | None = None

    @classmethod
    def empty(cls, n_maps: int, top: int) -> LayerScan:
        """Return the result for no image."""
        return cls(HalvedHits.empty(n_maps, top), MapStatistics.empty(n_maps), Bands.empty(n_maps))

    @cached_property
    def hits(self) -> TopHits:
        """The strongest hits of every feature map."""
        return self.halves.together

    def add(
        self,
        maxima: NDArray[np.float32],
        means: NDArray[np.float32],
        image_ids: NDArray[np.int64],
        places: NDArray[np.int32],
    ) -> LayerScan:
        """Return the result with a batch of images added.

        Args:
            maxima: (n, c) strongest activation of each image and map.
            means: (n, c) mean activation of each image and map.
            image_ids: (n,) ids that have not been added yet.
            places: (n, c, 2) row and column of the strongest activations.
        """
        bins = bins_of(maxima)
        return LayerScan(
            self.halves.add(maxima, image_ids, places),
            self.statistics.add(maxima, means, bins),
            None if self.bands is None else self.bands.add(maxima, bins, image_ids, places),
        )

    def __repr__(self) -> str:
        """Return how much was scanned, without the arrays."""
        n_maps = counted(len(self.statistics.maxima), "map")
        return f"LayerScan({n_maps}, {counted(self.statistics.n_images, 'image')})"

    def merge(self, other: LayerScan) -> LayerScan:
        """Return the result for both sets of images, which have no image in common."""
        both = None if self.bands is None or other.bands is None else self.bands.merge(other.bands)
        return LayerScan(self.halves.merge(other.halves), self.statistics.merge(other.statistics), both)

    def after(self) -> LayerScan:
        """Return a result for no image to which only what can stay in a merge with this one needs to be added."""
        n_maps = len(self.statistics.maxima)
        bands = None if self.bands is None else self.bands.after()
        return LayerScan(self.halves.after(), MapStatistics.empty(n_maps), bands)


@dataclass
class Scan:
    """The state of a scan: a result for each layer, and the pictures that could not be read.

    Attributes:
        layers: Layer names in the order of the graph, with their results.
        skipped: Pictures that could not be read, with the reasons.
    """

    layers: dict[str, LayerScan]
    skipped: list[Skipped] = field(default_factory=list)

    @classmethod
    def empty(cls, layers: Iterable[Layer], top: int) -> Scan:
        """Return the scan of no image."""
        if top < 1:
            raise BadInputError(f"top is the number of hits of a feature map, at least 1, got {top}")
        return cls({layer.name: LayerScan.empty(layer.n_maps, top) for layer in layers})

    @property
    def n_images(self) -> int:
        """Number of images that were read."""
        # every image is added to all layers, so any of them tells
        return next((s.statistics.n_images for s in self.layers.values()), 0)

    def __repr__(self) -> str:
        """Return how much was scanned: `Scan(26 layers, 3976 maps, 1000 images)`."""
        n_maps = sum(len(result.statistics.maxima) for result in self.layers.values())
        parts = counted(len(self.layers), "layer"), counted(n_maps, "map"), counted(self.n_images, "image")
        return f"Scan({', '.join(parts)})"

    def merge(self, other: Scan) -> Scan:
        """Return the scan of both sets of images, which have no image in common."""
        layers = {name: result.merge(other.layers[name]) for name, result in self.layers.items()}
        # Sorted, as the hits are in a total order: the order of the merges shows in neither.
        return Scan(layers, sorted([*self.skipped, *other.skipped], key=lambda s: s.id))

    def after(self) -> Scan:
        """Return a scan of no image that may leave out what a merge with this one would leave out anyway."""
        return Scan({name: result.after() for name, result in self.layers.items()})

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the results of all layers as plain arrays, named `layer index.what`."""
        arrays: dict[str, NDArray[np.generic]] = {}
        for i, result in enumerate(self.layers.values()):
            bands = {} if result.bands is None else result.bands.to_arrays()
            for part in (result.halves.to_arrays(), vars(result.statistics), bands):
                arrays |= {f"{i}.{name}": np.asarray(value) for name, value in part.items()}
        return arrays

    @classmethod
    def from_arrays(cls, names: Sequence[str], arrays: dict[str, NDArray[np.generic]]) -> Scan:
        """Return the scan that `to_arrays` gave the arrays of; without its skipped pictures."""

        def layer(i: int) -> LayerScan:
            # `to_arrays` named the arrays of the layer "i.values", "i.maxima" and so on.
            own = {name.removeprefix(f"{i}."): a for name, a in arrays.items() if name.startswith(f"{i}.")}
            if "sums" in own:  # an unfinished scan of an earlier version, which added in one part
                sums = own.pop("sums")
                own["sum_parts"] = np.stack([sums, np.zeros_like(sums), np.zeros_like(sums)])
            statistics = {name: own[name] for name in MapStatistics.__annotations__}
            n_images = {"n_images": int(own["n_images"])}  # an array of no dimensions, where a number belongs
            return LayerScan(
                HalvedHits.from_arrays(own),
                MapStatistics(**statistics | n_images),  # type: ignore[arg-type]
                Bands.from_arrays(own, len(own["maxima"])),
            )

        return cls({name: layer(i) for i, name in enumerate(names)})
