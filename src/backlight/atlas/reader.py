"""Reading an atlas: layers, feature maps, hits and images, fetched when they are asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backlight.atlas import checks
from backlight.atlas.checksums import Group, place, read_group
from backlight.atlas.damage import damaged, reading
from backlight.atlas.evidence import Evidence, read_evidence, read_study
from backlight.atlas.figures import FigureOptions, atlas_html, filters_figure, map_figure, superposed_figure
from backlight.atlas.hits import FeatureMap, Hit, SkippedImage
from backlight.atlas.listed import AtlasImages
from backlight.atlas.opening import RESUME, how_to_finish
from backlight.atlas.origin import KEY as ORIGIN
from backlight.atlas.plan import field_from_json, rules_from_json, tile_box
from backlight.atlas.schema import connect_for_reading, has_checksums, limit_steps
from backlight.errors import AtlasError, BadInputError, UnknownLayerError
from backlight.geometry import ReceptiveField
from backlight.images import Preprocessing
from backlight.operators.ruleset import RuleSet
from backlight.render import DEFAULT_SCALING, Scaling
from backlight.scan import N_BINS
from backlight.text import visible


class AtlasLayer(Mapping[int, FeatureMap]):
    """A layer of an atlas; `layer[channel]` is a feature map.

    Attributes:
        name: torchvision's node name.
        operator: The operator that made it.
        shape: (c, h, w), or (c,) for a fully connected layer.
        rectified: Whether the operator is a rectifier.
        receptive_field: What a unit sees; None for the whole image.
    """

    def __init__(self, atlas: Atlas, layer_id: int, name: str, description: dict[str, Any]) -> None:
        self._atlas, self._id = atlas, layer_id
        self.name = name
        self.operator: str = description["operator"]
        self.shape: tuple[int, ...] = tuple(description["shape"])
        self.rectified: bool = description["rectified"]
        self.receptive_field: ReceptiveField | None = field_from_json(description)

    @property
    def n_maps(self) -> int:
        """Number of feature maps."""
        return self.shape[0]

    @cached_property
    def channels(self) -> tuple[int, ...]:
        """The feature maps that have been chosen for projection."""
        channels: list[int] = self._atlas.plan["layers"][self.name]
        return tuple(channels)

    @property
    def rules(self) -> RuleSet:
        """How a signal went down from the layer."""
        return rules_from_json(self._atlas.rules, self.name)

    @property
    def evidence(self) -> Evidence | None:
        """What `backlight faithfulness` found out about the layer; None before."""
        return self._evidence[0]

    @property
    def study(self) -> bytes | None:
        """The whole result of `backlight faithfulness` for the layer, for `Faithfulness.from_bytes`; None before."""
        return read_study(self._atlas, self._id)

    @cached_property
    def _evidence(self) -> tuple[Evidence | None, dict[int, Evidence]]:
        return read_evidence(self._atlas, self._id)

    @cached_property
    def filters(self) -> NDArray[np.float32] | None:
        """The layer's filters (n, c, k, k), if its convolution reads the pixels directly."""
        (rows,) = self._atlas.group("filters")
        with reading(self._atlas.path, place("filters")):
            return next((checks.npy(data) for layer_id, data in rows if layer_id == self._id), None)

    def __getitem__(self, channel: int) -> FeatureMap:
        """Return a feature map; statistics are there for all, hits for the chosen ones."""
        if not 0 <= channel < self.n_maps:
            raise BadInputError(
                f"channel {channel} is out of range for layer {self.name!r} ({self.n_maps} feature maps)"
            )
        maps, hits = self._atlas.group("map", self._id, channel)
        if not maps:
            if self._atlas.phase == "scan":
                raise AtlasError("the scan of this atlas is not finished", **how_to_finish(self._atlas.path))
            maps, hits = self._atlas.group("map", self._id, channel)  # a build may just have written it
        if not maps:
            raise damaged(self._atlas.path, place("map", (self._id, channel)), "the feature map is missing")
        n_images = self._atlas.n_scanned
        with reading(self._atlas.path, place("map", (self._id, channel))):
            mean, peak, n_active, histogram = maps[0]
            return FeatureMap(
                self.name,
                channel,
                tuple(self._hit(channel, rank, row) for rank, row in enumerate(hits)),
                checks.real(mean, "mean"),
                checks.real(peak, "max"),
                checks.whole(n_active, "n_active", 0, n_images) / max(n_images, 1),
                checks.histogram(histogram, N_BINS),
                self._evidence[1].get(channel),
                self._atlas,
            )

    def _hit(self, channel: int, rank: int, values: tuple[Any, ...]) -> Hit:
        """Return a hit, its values checked: the ranks of a map are 0, 1, 2 and so on, its places in the map."""
        found, value, image_id, row, col = values
        checks.whole(found, "rank", rank, min(rank, self._atlas.plan["top"] - 1))
        if len(self.shape) == 3:
            checks.whole(row, "row", 0, self.shape[1] - 1)
            checks.whole(col, "col", 0, self.shape[2] - 1)
        else:
            checks.nothing((row, col), "row and column of a unit without a place")
        return Hit(
            rank,
            checks.real(value, "value"),
            checks.whole(image_id, "image_id", 0, self._atlas.image_set["n"] - 1),
            row,
            col,
            tile_box(self.receptive_field, row, col, self._atlas.preprocessing.crop),
            self._atlas,
            (self._id, channel, rank),
        )

    def __len__(self) -> int:
        """Return the number of feature maps."""
        return self.n_maps

    def __iter__(self) -> Iterator[int]:
        """Yield the channels."""
        return iter(range(self.n_maps))

    def __repr__(self) -> str:
        """Return the name and the shape."""
        return f"AtlasLayer({self.name!r}, {'x'.join(map(str, self.shape))})"


class Atlas(Mapping[str, AtlasLayer]):
    """An atlas, opened read-only; `atlas[layer][channel]` is a feature map.

    Made by `build` and `open_atlas`.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._lock, self._n_bytes = path, RLock(), 0
        self._connection = connect_for_reading(path)
        try:
            self._open()
        except BaseException:
            self._connection.close()
            raise

    def _open(self) -> None:
        with reading(self.path, "its header"):
            self.has_checksums = has_checksums(self._connection)
        text = self._meta("identity")
        with reading(self.path, f"{place('meta')} (identity)"):
            identity = checks.identity(text)
            self.model: dict[str, Any] = identity["model"]
            self.rules: dict[str, Any] = identity["rules"]
            self.image_set: dict[str, Any] = identity["images"]
            self.plan: dict[str, Any] = identity["plan"]
            self.preprocessing = Preprocessing.from_dict(identity["preprocessing"])
        self.images = AtlasImages(self)
        (rows,) = self.group("layer")
        self._layers: dict[str, AtlasLayer] = {}
        for layer_id, name, text in rows:
            with reading(self.path, f"{place('layer')} (layer_id {layer_id})"):
                checks.whole(layer_id, "layer_id")
                found = checks.description(text, self.plan["layers"][checks.name(name, "layer name")])
                self._layers[name] = AtlasLayer(self, layer_id, name, found)
        if list(self._layers) != list(self.plan["layers"]):
            raise damaged(self.path, place("layer"), "the layers are not those of the plan")

    @property
    def layers(self) -> tuple[AtlasLayer, ...]:
        """The layers, in the order of the graph."""
        return tuple(self._layers.values())

    @property
    def phase(self) -> str:
        """`scan` or `project` while the atlas is unfinished, then `done`."""
        text = self._meta("phase")
        with reading(self.path, f"{place('meta')} (phase)"):
            return checks.one_of(json.loads(text), "phase", ("scan", "project", "done"))

    @property
    def origin(self) -> dict[str, str | None]:
        """How `backlight build` was asked for it: `model`, `weights`, `images`; empty if by Python."""
        (rows,) = self.group("meta")
        with reading(self.path, f"{place('meta')} (origin)"):
            return next((checks.origin(value) for key, value in rows if key == ORIGIN), {})

    @property
    def n_channels(self) -> int:
        """Channels of the network's input, 1 or 3."""
        return int(self.model["input_shape"][0])

    @property
    def skipped(self) -> tuple[SkippedImage, ...]:
        """The pictures that could not be read."""
        return self.images.skipped

    @property
    def n_scanned(self) -> int:
        """Number of images that were read."""
        return len(self.images)

    @cached_property
    def has_studies(self) -> bool:
        """Whether the file has the tables for evidence."""
        return bool(self.rows("its schema", "SELECT 1 FROM sqlite_master WHERE name = 'study'"))

    def __getitem__(self, layer: str) -> AtlasLayer:
        """Return a layer.

        Raises:
            UnknownLayerError: The atlas has no such layer.
        """
        if layer not in self._layers:
            raise UnknownLayerError(
                f"{self.path.name} has no layer {layer!r}; it has {_shortened(list(self._layers))}"
            )
        return self._layers[layer]

    def __len__(self) -> int:
        """Return the number of layers."""
        return len(self._layers)

    def __iter__(self) -> Iterator[str]:
        """Yield the layer names."""
        return iter(self._layers)

    def figure(
        self,
        layer: str,
        channels: Sequence[int] | int | None = None,
        scaling: Scaling | str = DEFAULT_SCALING,
        columns: int | None = None,
        full_field: bool = False,
    ) -> Image.Image:
        """Return the paper's Fig. 2 for a layer: the projections of each map's hits beside their patches.

        Args:
            layer: The layer's name.
            channels: Feature maps, in the order of the figure, or one; None takes the first 16 that were projected.
            scaling: How values become colours.
            columns: Maps side by side; None chooses.
            full_field: Draw whole receptive fields, even where the projections fill only their centre.

        Raises:
            UnknownLayerError: The atlas has no such layer.
            BadInputError: A channel that was not projected.
            AtlasError: The build is not finished.
        """
        return map_figure(self, self[layer], FigureOptions(channels, scaling, columns, full_field))

    def superposed(
        self,
        layer: str,
        channels: Sequence[int] | int | None = None,
        top: int | None = None,
        scaling: Scaling | str = DEFAULT_SCALING,
        full_field: bool = False,
    ) -> Image.Image:
        """Return a figure of the top hits of each map superposed: aligned on the unit and added.

        Args:
            layer: The layer's name.
            channels: Feature maps, or one; None takes the first 16 that were projected.
            top: How many hits of each map; None takes all.
            scaling: How values become colours.
            full_field: Draw whole receptive fields, even where the projections fill only their centre.

        Raises:
            UnknownLayerError: The atlas has no such layer.
            BadInputError: A channel that was not projected, a top below 1.
            AtlasError: The build is not finished.
        """
        options = FigureOptions(channels, scaling, None, full_field)
        return superposed_figure(self, self[layer], options, top)

    def filters(self, layer: str, columns: int | None = None) -> Image.Image:
        """Return the filters of a layer that reads the pixels directly, as a figure.

        Raises:
            UnknownLayerError: The atlas has no such layer.
            BadInputError: The layer is a deeper one.
        """
        return filters_figure(self, self[layer], columns)

    def _repr_html_(self) -> str:
        return atlas_html(self)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _meta(self, key: str) -> Any:
        (rows,) = self.group("meta")
        for name, value in rows:
            if name == key:
                return value
        raise AtlasError(
            f"{str(self.path)!r} holds nothing yet",
            **RESUME,
        )

    def integrity(self) -> list[str]:
        """Return what SQLite finds wrong with the pages of the file, at most twenty lines; this reads all of it."""
        with self._lock, reading(self.path, "its pages"):
            self._connection.set_progress_handler(None, 0)
            rows = self._connection.execute("PRAGMA integrity_check(20)").fetchall()
            return [visible(str(text)) for (text,) in rows if text != "ok"]

    def group(self, kind: str, *keys: int) -> Group:
        """Return the rows of a group (`backlight.atlas.checksums`), compared with their checksum.

        Raises:
            DamagedAtlasError: They cannot be read, or are not what was written.
        """
        with self._lock, reading(self.path, place(kind, keys)):
            self._limit()
            # One transaction: a build may write between the rows and their checksum.
            self._connection.execute("BEGIN")
            try:
                return read_group(self._connection, kind, keys, self.has_checksums)
            finally:
                self._connection.execute("ROLLBACK")

    def rows(self, where: str, query: str) -> list[Any]:
        """Return the rows of a query, which are not compared with any checksum; `where` says in words what is read."""
        with self._lock, reading(self.path, where):
            self._limit()
            return self._connection.execute(query).fetchall()

    def _limit(self) -> None:
        """Bound the steps of the next queries by the size of the file, which may grow while a build writes it."""
        with suppress(OSError):  # moved meanwhile: it is open all the same
            self._n_bytes = self.path.stat().st_size
        limit_steps(self._connection, self._n_bytes)


def open_atlas(path: Path | str) -> Atlas:
    """Return the atlas in a file, opened read-only.

    Raises:
        AtlasError: There is no such file, or it is no atlas.
    """
    return Atlas(Path(path))


def _shortened(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 8 else f"{', '.join(names[:4])}, … {', '.join(names[-2:])}"
