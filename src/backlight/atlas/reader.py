"""Reading an atlas: layers, feature maps, hits and images, fetched when they are asked for."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backlight.atlas.evidence import Evidence, read_evidence, read_study
from backlight.atlas.figures import FigureOptions, atlas_html, filters_figure, map_figure, superposed_figure
from backlight.atlas.hits import FeatureMap, Hit, SkippedImage, StoredImage
from backlight.atlas.opening import how_to_finish, reading_errors
from backlight.atlas.origin import KEY as ORIGIN
from backlight.atlas.plan import field_from_json, rules_from_json, tile_box
from backlight.atlas.schema import connect_for_reading
from backlight.errors import AtlasError, BadInputError, UnknownLayerError
from backlight.geometry import ReceptiveField
from backlight.images import Preprocessing
from backlight.render import DEFAULT_SCALING, Scaling
from backlight.rules import RuleSet


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
        return tuple(self._atlas.plan["layers"][self.name])

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
        return read_study(self._atlas.rows, self._id)

    @cached_property
    def _evidence(self) -> tuple[Evidence | None, dict[int, Evidence]]:
        return read_evidence(self._atlas.rows, self._id)

    @cached_property
    def filters(self) -> NDArray[np.float32] | None:
        """The layer's filters (n, c, k, k), if its convolution reads the pixels directly."""
        row = self._atlas.row("SELECT weights FROM filters WHERE layer_id = ?", self._id)
        return None if row is None else np.load(io.BytesIO(row[0]))

    def __getitem__(self, channel: int) -> FeatureMap:
        """Return a feature map; statistics are there for all, hits for the chosen ones."""
        row = self._atlas.row(
            "SELECT mean, max, n_active, histogram FROM feature_map WHERE layer_id = ? AND channel = ?",
            self._id,
            channel,
        )
        if row is None:
            if self._atlas.phase == "scan":
                raise AtlasError(f"the scan of this atlas is not finished; {how_to_finish(self._atlas.path)}")
            raise BadInputError(
                f"channel {channel} is out of range for layer {self.name!r} ({self.n_maps} feature maps)"
            )
        mean, peak, n_active, histogram = row
        share = n_active / max(self._atlas.n_scanned, 1)
        return FeatureMap(
            self.name,
            channel,
            self._hits(channel),
            mean,
            peak,
            share,
            np.frombuffer(histogram, "<i8"),
            self._evidence[1].get(channel),
            self._atlas,
        )

    def _hits(self, channel: int) -> tuple[Hit, ...]:
        rows = self._atlas.rows(
            "SELECT rank, value, image_id, row, col FROM hit WHERE layer_id = ? AND channel = ? ORDER BY rank",
            self._id,
            channel,
        )
        crop = self._atlas.preprocessing.crop
        return tuple(
            Hit(
                rank,
                value,
                image_id,
                row,
                col,
                tile_box(self.receptive_field, row, col, crop),
                self._atlas,
                (self._id, channel, rank),
            )
            for rank, value, image_id, row, col in rows
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


class AtlasImages(Mapping[int, StoredImage]):
    """The images of an atlas by id."""

    def __init__(self, atlas: Atlas) -> None:
        self._atlas = atlas

    def __getitem__(self, image_id: int) -> StoredImage:
        """Return an image; KeyError if it was skipped or never there."""
        row = self._atlas.row("SELECT path, label, height, width FROM image WHERE image_id = ?", image_id)
        if row is None:
            raise KeyError(image_id)
        return StoredImage(image_id, row[0], row[1], (row[2], row[3]))

    def __len__(self) -> int:
        """Return the number of images that were read."""
        return int(self._atlas.row("SELECT count(*) FROM image")[0])

    def __iter__(self) -> Iterator[int]:
        """Yield the ids."""
        return (row[0] for row in self._atlas.rows("SELECT image_id FROM image ORDER BY image_id"))


class Atlas(Mapping[str, AtlasLayer]):
    """An atlas, opened read-only; `atlas[layer][channel]` is a feature map.

    Made by `build` and `open_atlas`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = connect_for_reading(path)
        identity = self._meta("identity")
        self.model: dict[str, Any] = identity["model"]
        self.rules: dict[str, Any] = identity["rules"]
        self.image_set: dict[str, Any] = identity["images"]
        self.plan: dict[str, Any] = identity["plan"]
        self.preprocessing = Preprocessing.from_dict(identity["preprocessing"])
        self.images = AtlasImages(self)
        self._layers = {
            name: AtlasLayer(self, layer_id, name, json.loads(text))
            for layer_id, name, text in self.rows("SELECT * FROM layer ORDER BY layer_id")
        }

    @property
    def layers(self) -> tuple[AtlasLayer, ...]:
        """The layers, in the order of the graph."""
        return tuple(self._layers.values())

    @property
    def phase(self) -> str:
        """`scan` or `project` while the atlas is unfinished, then `done`."""
        return str(self._meta("phase"))

    @property
    def origin(self) -> dict[str, str | None]:
        """How `backlight build` was asked for it: `model`, `weights`, `images`; empty if by Python."""
        row = self.row("SELECT value FROM meta WHERE key = ?", ORIGIN)
        return {} if row is None else dict(json.loads(row[0]))

    @property
    def n_channels(self) -> int:
        """Channels of the network's input, 1 or 3."""
        return int(self.model["input_shape"][0])

    @property
    def skipped(self) -> tuple[SkippedImage, ...]:
        """The pictures that could not be read."""
        return tuple(SkippedImage(*row) for row in self.rows("SELECT * FROM skipped ORDER BY image_id"))

    @cached_property
    def n_scanned(self) -> int:
        """Number of images that were read."""
        return len(self.images)

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
        channels: Sequence[int] | None = None,
        scaling: Scaling | str = DEFAULT_SCALING,
        columns: int | None = None,
        full_field: bool = False,
    ) -> Image.Image:
        """Return the paper's Fig. 2 for a layer: the projections of each map's hits beside their patches.

        Args:
            layer: The layer's name.
            channels: Feature maps, in the order of the figure; None takes the first 16 that were projected.
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
        channels: Sequence[int] | None = None,
        top: int | None = None,
        scaling: Scaling | str = DEFAULT_SCALING,
        full_field: bool = False,
    ) -> Image.Image:
        """Return a figure of the top hits of each map superposed: aligned on the unit and added.

        Args:
            layer: The layer's name.
            channels: Feature maps; None takes the first 16 that were projected.
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
        row = self.row("SELECT value FROM meta WHERE key = ?", key)
        if row is None:
            raise AtlasError(
                f"{str(self.path)!r} holds nothing yet; run the `backlight build` that began it again"
            )
        return json.loads(row[0])

    def row(self, query: str, *values: Any) -> Any:
        """Return the first row that an SQL query gives, or None."""
        with reading_errors(self.path):
            return self._connection.execute(query, values).fetchone()

    def rows(self, query: str, *values: Any) -> list[Any]:
        """Return all rows that an SQL query gives."""
        with reading_errors(self.path):
            return self._connection.execute(query, values).fetchall()


def open_atlas(path: Path | str) -> Atlas:
    """Return the atlas in a file, opened read-only.

    Raises:
        AtlasError: There is no such file, or it is no atlas.
    """
    return Atlas(Path(path))


def _shortened(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 8 else f"{', '.join(names[:4])}, … {', '.join(names[-2:])}"
