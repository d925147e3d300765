"""The layers of an atlas: mappings from a channel to its feature map, read when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backlight.atlas import checks
from backlight.atlas.bands import BandReader
from backlight.atlas.checksums import place
from backlight.atlas.contents import Contents, LayerTiles
from backlight.atlas.damage import damaged, reading
from backlight.atlas.descriptions import LayerDescription
from backlight.atlas.drawing import FigureLook, draw, show
from backlight.atlas.evidence import Found, read_evidence, read_studies
from backlight.atlas.filters import MapFilters
from backlight.atlas.findings import Evidence, Foretold
from backlight.atlas.headings import Heading
from backlight.atlas.opening import how_to_finish
from backlight.atlas.records import FeatureMap, Hit
from backlight.errors import AtlasError, BadInputError
from backlight.operators.ruleset import RuleSet
from backlight.render import DEFAULT_SCALING, Scaling
from backlight.scan.statistics import N_BINS
from backlight.storage.tiles import tile_box
from backlight.text import counted

_MAPS_OF_A_FIGURE = 16


class AtlasLayer(Mapping[int, FeatureMap]):
    """A layer of an atlas; `layer[channel]` is a feature map.

    Attributes:
        name: torchvision's node name.
        operator: The operator that made it.
        shape: (c, h, w), or (c,) for a fully connected layer.
        rectified: Whether the operator is a rectifier.
        receptive_field: What a unit sees; None for the whole image.
        sources: The layers of the atlas that feed it directly, an empty name for the image; None in an atlas of an
            earlier version.
        description: All of this, as the atlas keeps it.
    """

    def __init__(self, contents: Contents, layer_id: int, name: str, description: LayerDescription) -> None:
        self._contents, self._id, self.name, self.description = contents, layer_id, name, description
        self.operator, self.shape = description.operator, description.shape
        self.rectified, self.receptive_field = description.rectified, description.receptive_field
        self.sources = description.sources
        bands = BandReader(contents, layer_id, self.shape, self.receptive_field, lambda: self._tiles)
        self._file, self._tiles = contents.file, LayerTiles(contents, self.heading, bands)
        self._shown, self._certain = frozenset(self.channels), dict[int, Any]()

    @property
    def n_maps(self) -> int:
        """Number of feature maps."""
        return self.shape[0]

    @property
    def channels(self) -> tuple[int, ...]:
        """The feature maps that have been chosen for projection."""
        return self._contents.identity.selection.channels[self.name]

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of its maps, where they are the classes: a layer without places, of as many maps as names."""
        names = self._contents.classes
        return names if len(self.shape) == 1 and self.n_maps == len(names) else ()

    @property
    def rules(self) -> RuleSet:
        """By which rules the layer's activations were projected back."""
        return self._contents.identity.rules.of(self.name)

    @property
    def evidence(self) -> Evidence | None:
        """What `backlight faithfulness` found out about the layer; None before."""
        return self._found[0].evidence

    @property
    def foretelling(self) -> Foretold | None:
        """What `backlight foretelling` found out about the layer; None before."""
        return self._found[0].foretelling

    @property
    def studies(self) -> dict[str, bytes]:
        """The whole results of the studies kept of the layer, by study: for `Faithfulness.from_bytes` and the like."""
        return {} if self._is_under_others else read_studies(self._file, self._id)

    @cached_property
    def _found(self) -> tuple[Found, dict[int, Found]]:
        layer, maps = read_evidence(self._file, self._id)
        if self._is_under_others:  # studies are of the atlas's own projections; stability is one of hits
            return Found(), {channel: Found(stability=own.stability) for channel, own in maps.items()}
        return layer, maps

    @property
    def _is_under_others(self) -> bool:
        return self._contents.rule_layers is not None

    @cached_property
    def filters(self) -> NDArray[np.float32] | None:
        """The layer's filters (n, c, k, k), if they are small pictures: its convolution reads the pixels directly."""
        (rows,) = self._file.group("filters")
        with reading(self._file.path, place("filters")):
            found = next((checks.npy(data) for layer_id, data in rows if layer_id == self._id), None)
            if found is not None and len(found) != self.n_maps:
                raise ValueError(f"there are {len(found)} filters of {self.n_maps} maps")
            return found

    @cached_property
    def map_filters(self) -> MapFilters | None:
        """The filters of the feature maps that have been chosen for projection, each map's by which it is made.

        None where the maps are sums or joins of several convolutions, where the filters are larger than 32 MiB, and in
        deeper layers of an atlas of an earlier version.
        """
        if not self._file.has_map_filters:
            filters = self.filters
            chosen = None if filters is None else filters[list(self.channels)]
            return None if chosen is None else MapFilters(self.channels, chosen, (0,) * len(chosen))
        (rows,) = self._file.group("map_filters", self._id)
        if not rows:
            return None
        with reading(self._file.path, place("map_filters", (self._id,))):
            n_groups, weights = checks.whole(rows[0][0], "n_groups", 1, self.n_maps), checks.npy(rows[0][1])
            if len(weights) != len(self.channels):
                raise ValueError(f"there are {len(weights)} filters of {len(self.channels)} maps")
            groups = tuple(channel * n_groups // self.n_maps for channel in self.channels)
            return MapFilters(self.channels, weights, groups)

    def heading(self) -> Heading:
        """Return what stands above pictures of the layer's feature maps."""
        identity = self._contents.identity
        return Heading(
            network=identity.model.name,
            layer=self.name,
            n_maps=self.n_maps,
            n_images=len(self._contents.images),
            rules=self.rules.name,
            receptive_field=self.receptive_field,
            top=identity.selection.top,
            evidence=_in_words(self._found[0]),
            class_names=self.class_names,
            is_chosen=identity.rules.everywhere is None,
        )

    def projected(self, channels: Sequence[int] | int | None = None) -> list[FeatureMap]:
        """Return feature maps that were projected.

        Args:
            channels: Their channels, or one; None takes the first 16.

        Raises:
            BadInputError: A channel that is out of range or was not projected.
        """
        if channels is None:
            channels = self.channels[:_MAPS_OF_A_FIGURE]
        channels = [channels] if isinstance(channels, int) else channels
        known = set(self.channels)
        for channel in channels:
            if channel not in known and 0 <= channel < self.n_maps:
                raise BadInputError(
                    f"channel {channel} of layer {self.name!r} was not projected, only {_listed(self.channels)}",
                    python=f"extend(net, images, path, {self.name!r}, maps=[{channel}]) adds it to the atlas",
                    command=f"`backlight extend {self._file.path.name} --layers {self.name} --maps {channel},` adds it",
                )
        return [self[channel] for channel in channels]

    def figure(
        self,
        channels: Sequence[int] | int | None = None,
        scaling: Scaling | str = DEFAULT_SCALING,
        columns: int | None = None,
        full_field: bool = False,
        *,
        low_pass: bool = False,
        names: bool = False,
    ) -> Image.Image:
        """Return the paper's Fig. 2 for the layer: the same as `Atlas.figure` gives for its name."""
        look = FigureLook(scaling, columns, full_field, low_pass, names)
        return draw("map_figure", self.heading(), self.projected(channels), look)

    def superposed(
        self,
        channels: Sequence[int] | int | None = None,
        top: int | None = None,
        scaling: Scaling | str = DEFAULT_SCALING,
        full_field: bool = False,
    ) -> Image.Image:
        """Return a figure of the top hits of each map superposed: the same as `Atlas.superposed` gives for its name."""
        look = FigureLook(scaling, full_field=full_field)
        return draw("superposed_figure", self.heading(), self.projected(channels), look, top)

    def __getitem__(self, channel: int) -> FeatureMap:
        """Return a feature map; statistics are there for all, hits for the chosen ones."""
        if not 0 <= channel < self.n_maps:
            raise BadInputError(
                f"channel {channel} is out of range for layer {self.name!r} ({counted(self.n_maps, 'feature map')})"
            )
        path, where = self._file.path, place("map", (self._id, channel))
        # Before the hits: where it is there, they are too.
        n_certain = self._n_certain(channel)
        maps, hits = self._file.group("map", self._id, channel)
        if not maps:
            if self._file.phase == "scan":
                raise AtlasError("the scan of this atlas is not finished", **how_to_finish(path))
            maps, hits = self._file.group("map", self._id, channel)  # a build may just have written it
        if not maps:
            raise damaged(path, where, "the feature map is missing")
        n_images, found = len(self._contents.images), self._found[1].get(channel, Found())
        with reading(path, where):
            mean, peak, n_active, histogram = maps[0]
            return FeatureMap(
                self.name,
                channel,
                tuple(self._hit(channel, rank, row) for rank, row in enumerate(hits)),
                checks.real(mean, "mean"),
                checks.real(peak, "max"),
                checks.whole(n_active, "n_active", 0, n_images) / max(n_images, 1),
                channel in self.channels,
                checks.histogram(histogram, N_BINS),
                found.evidence,
                found.foretelling,
                found.stability,
                self._tiles,
                None if n_certain is None else min(n_certain, len(hits)),
            )

    def _n_certain(self, channel: int) -> int | None:
        """Return how many hits of a map are certain; None for one that was not projected, and in an earlier atlas.

        Raises:
            AtlasError: The scan is not finished, or its hits are being certified.
        """
        if not self._file.has_certainty or channel not in self._shown:
            return None
        if channel not in self._certain:
            if self._file.phase in ("scan", "certify"):
                raise AtlasError("the scan of this atlas is not finished", **how_to_finish(self._file.path))
            (rows,) = self._file.group("certainty", self._id)
            # A map that an earlier version has built has no row, also where others were added to the atlas since.
            self._certain = dict.fromkeys(self._shown) | dict(rows)
        if self._certain[channel] is None:
            return None
        with reading(self._file.path, place("certainty", (self._id,))):
            return checks.whole(self._certain[channel], "n_certain", 0, self._contents.identity.selection.top)

    def _hit(self, channel: int, rank: int, values: tuple[Any, ...]) -> Hit:
        """Return a hit, its values checked: the ranks of a map are 0, 1, 2 and so on, its places in the map."""
        identity = self._contents.identity
        found, value, image_id, row, col = values
        checks.whole(found, "rank", rank, min(rank, identity.selection.top - 1))
        checks.unit(row, col, self.shape)
        size = self.shape[1:]
        return Hit(
            rank,
            checks.real(value, "value"),
            checks.whole(image_id, "image_id", 0, identity.image_set.n_images - 1),
            row,
            col,
            tile_box(self.receptive_field, row, col, identity.preprocessing.crop),
            self._tiles,
            (self._id, channel, rank),
            (size[0], size[1]) if size else None,
        )

    def _repr_html_(self) -> str | None:
        return show("layer_card", repr(self), self, self.heading(), self._tiles.image_size)

    def __len__(self) -> int:
        """Return the number of feature maps."""
        return self.n_maps

    def __iter__(self) -> Iterator[int]:
        """Yield the channels."""
        return iter(range(self.n_maps))

    def __repr__(self) -> str:
        """Return the name, the size and what was projected: `AtlasLayer('relu2', 16 of 128 maps 27x27)`."""
        size = f" {'x'.join(map(str, self.shape[1:]))}" if len(self.shape) > 1 else ""
        what = "map" if size else "unit"
        return f"AtlasLayer({self.name!r}, {len(self.channels)} of {counted(self.n_maps, what)}{size})"


def _in_words(found: Found) -> str:
    """Return what was found of a layer in words, for the subtitle of a figure."""
    parts = []
    if found.evidence is not None:
        own, best = next(iter(found.evidence.falls)), found.evidence.best_rules
        advice = "" if best == own else f"; advised: {best}"
        parts.append(
            f"evidence for the layer ({found.evidence.n} maps): {found.evidence.text}{advice}. Lost: share of the "
            "activation that is gone when the pixels that a projection shows are covered (in brackets: the same pixels "
            "turned about the unit, a disc at the centre)"
        )
    if found.foretelling is not None:
        parts.append(
            f"{'The' if parts else 'the'} layer {found.foretelling.text}: rank correlation of a projection's energy "
            "under a square with the fall of the activation when the square is covered, over maps"
        )
    return ". ".join(parts)


def _listed(channels: Sequence[int]) -> str:
    shown = ", ".join(map(str, channels[:12]))
    return shown if len(channels) <= 12 else f"{shown}, … ({len(channels)} in all)"
