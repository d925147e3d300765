"""What the study of evolution finds: what was seen at each step of a training, and how much changed between them."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from backlight.errors import BadInputError, UnknownLayerError
from backlight.images.skipped import Skipped
from backlight.storage.tiles import decode_projection
from backlight.studies.evolution.changes import (
    MEASURES,
    LayerChanges,
    relative_changes,
    settled_at,
    turns,
    unlikeness,
)
from backlight.studies.evolution.followed import EvolutionConfig, FollowedLayer, SkippedStep
from backlight.studies.numbers import nanmean, plain
from backlight.studies.results import Result

_LARGEST_TILE = 1024
"""Pixels of a tile's side at most: what is written is far smaller."""

SETTLED_SHARE = 0.1
"""A layer is settled at the first step after which this share of its total change, or less, comes."""


@dataclass(frozen=True, eq=False, repr=False)
class EvolutionResult(Result):
    """The strongest units of sampled feature maps over fixed images, and their projections, step by step.

    Arrays have a row for each of n steps. Their m columns are the sampled maps of all layers, layer by layer, in the
    order of `layers` and of their `channels`; `columns(layer)` finds those of a layer.

    Attributes:
        config: What was followed.
        network: The network's name.
        images: What the images are called.
        fingerprint: Of the images and how they are preprocessed.
        n_images: How many could be read.
        layers: The layers.
        steps: Their labels, in natural order: `epoch2` before `epoch10`.
        weights: A fingerprint of the network at each step.
        paths: By image id, as text, where the images are that are strongest for a sampled map at any step.
        skipped: Checkpoints that were left out when the study last ran.
        skipped_images: Images that could not be read.
        image_ids: (n, m) the strongest image of each map; -1 where no image activates it.
        values: (n, m) the activation there.
        places: (n, m, 2) its row and column; -1 for fully connected units, and where no image activates the map.
        tiles: The projections of all steps and maps as WebP, one after the other (`storage.tiles`).
        tile_ends: (n, m) where in `tiles` each ends.
        scales: (n, m) the largest magnitude of each projection.
        unlike: (n, m) 1 - correlation with the map's projection at the step before; NaN in the first row.
        filters: (n, f) the weights that make each sampled map, one map after the other.
        winners: (n, a) the strongest image of every map of every layer, sampled or not; -1 for none.
    """

    study: ClassVar[str] = "evolution"

    config: EvolutionConfig
    network: str
    images: str
    fingerprint: str
    n_images: int
    layers: tuple[FollowedLayer, ...]
    steps: tuple[str, ...]
    weights: tuple[str, ...]
    paths: dict[str, str]
    skipped: tuple[SkippedStep, ...]
    skipped_images: tuple[Skipped, ...]
    image_ids: NDArray[np.int64]
    values: NDArray[np.float32]
    places: NDArray[np.int32]
    tiles: NDArray[np.uint8]
    tile_ends: NDArray[np.int64]
    scales: NDArray[np.float32]
    unlike: NDArray[np.float64]
    filters: NDArray[np.float32]
    winners: NDArray[np.int64]

    def __post_init__(self) -> None:
        """Refuse arrays that do not belong together: a file may come from anybody."""
        n, m = len(self.steps), sum(len(own.channels) for own in self.layers)
        expected: dict[str, tuple[str, tuple[int, ...]]] = {
            **dict.fromkeys(("image_ids", "tile_ends"), ("i", (n, m))),
            **dict.fromkeys(("values", "scales", "unlike"), ("f", (n, m))),
            "places": ("i", (n, m, 2)),
            "tiles": ("u", self.tiles.shape),
            "filters": ("f", (n, self._filter_ends[-1])),
            "winners": ("i", (n, sum(own.n_maps for own in self.layers))),
        }
        found = {name: (getattr(self, name).dtype.kind, getattr(self, name).shape) for name in expected}
        wrong = [name for name, own in found.items() if own != expected[name]]
        # tiles lie one after the other, from the first byte to the last
        ends = [0, *self.tile_ends.ravel().tolist()]
        if sorted(ends) != ends or ends[-1] != self.tiles.size:
            wrong.append("tile_ends")
        if len(self.weights) != n or any(len(own.filters) != len(own.channels) for own in self.layers):
            wrong.append("layers")
        if any(not (0 < max(own.tile[:2]) <= _LARGEST_TILE and own.tile[2] in (1, 3)) for own in self.layers):
            wrong.append("tile")
        wrong += [name for name in ("values", "scales") if not np.isfinite(getattr(self, name)).all()]
        if wrong:
            raise BadInputError(f"the parts of an evolution do not fit each other ({', '.join(wrong)})")

    def layer(self, name: str) -> FollowedLayer:
        """Return the layer of that name.

        Raises:
            UnknownLayerError: It was not followed.
        """
        for own in self.layers:
            if own.name == name:
                return own
        known = ", ".join(own.name for own in self.layers)
        raise UnknownLayerError(f"layer {name!r} was not followed; the layers are {known}")

    def columns(self, layer: str) -> slice:
        """Return which columns are a layer's sampled maps."""
        return _span(self.layers, self.layer(layer), lambda own: len(own.channels))

    def column(self, layer: str, channel: int) -> int:
        """Return the column of a sampled map.

        Raises:
            UnknownLayerError: The layer was not followed.
            BadInputError: The map was not sampled.
        """
        channels = self.layer(layer).channels
        if channel not in channels:
            known = ", ".join(map(str, channels))
            raise BadInputError(
                f"map {channel} of layer {layer!r} was not followed; those that were are {known}"
            )
        first: int = self.columns(layer).start
        return first + channels.index(channel)

    def step_index(self, step: int | str) -> int:
        """Return the row of a step, by its label.

        Raises:
            BadInputError: There is no such step.
        """
        if str(step) not in self.steps:
            raise BadInputError(f"there is no step {str(step)!r}; the steps are {', '.join(self.steps)}")
        return self.steps.index(str(step))

    def projection(self, step: int | str, layer: str, channel: int) -> NDArray[np.float32]:
        """Return the projection of a map's strongest unit at a step, (h, w, c), signed, on what the unit sees.

        Raises:
            BadInputError: There is no such step or map, or the file is damaged there.
        """
        return self._tile(self.step_index(step), self.column(layer, channel))

    def filter(self, step: int | str, layer: str, channel: int) -> NDArray[np.float32] | None:
        """Return the weights that make a map at a step, in their own shape; None where no single operator does."""
        column = self.column(layer, channel)
        shape = self._filter_shapes[column]
        start, stop = self._filter_ends[column : column + 2]
        return self.filters[self.step_index(step), start:stop].reshape(shape) if shape else None

    def jumps(self, layer: str) -> NDArray[np.bool_]:
        """Return (n, maps) where the strongest image of a sampled map is not that of the step before."""
        ids = self.image_ids[:, self.columns(layer)]
        return np.concatenate([np.zeros((1, ids.shape[1]), bool), ids[1:] != ids[:-1]])[: len(ids)]

    def changes(self, layer: str) -> LayerChanges:
        """Return how much a layer changed from each step to the next."""
        at = self.columns(layer)
        unlike = self.unlike[1:, at]
        same = (self.image_ids[1:, at] == self.image_ids[:-1, at]) & (
            self.places[1:, at] == self.places[:-1, at]
        ).all(2)
        winners = self.winners[:, _span(self.layers, self.layer(layer), lambda own: own.n_maps)]
        moved, turned = self._filter_changes(at)
        return LayerChanges(
            projections=nanmean(unlike, 1),
            same_units=nanmean(np.where(same, unlike, np.nan), 1),
            n_same=same.sum(1).astype(np.int64),
            filters=nanmean(moved, 1),
            directions=nanmean(turned, 1),
            images=(winners[1:] != winners[:-1]).mean(1),
        )

    def settled(self, layer: str, measure: str = "projections", share: float = SETTLED_SHARE) -> str | None:
        """Return the first step after which no more than a share of a layer's total change comes.

        Args:
            layer: The layer.
            measure: What changes: `projections`, `filters` or `images`.
            share: Of the sum of all changes from step to step, 0 to 1.

        Returns:
            The step's label; None where there is only one step, or no filter.

        Raises:
            BadInputError: There is no such measure.

        *Convention*: it is measured on the steps that there are, so that it can only be compared between layers, and
        never says that a training is finished.
        """
        return self._settled(self.changes(layer), measure, share)

    def summary(self) -> dict[str, Any]:
        """Return the steps, by layer the curves of change and at which step each is settled, and what was skipped."""
        found: dict[str, Any] = {"steps": list(self.steps), "settled_share": SETTLED_SHARE, "layers": {}}
        for own in self.layers:
            changes = self.changes(own.name)
            curves = {name: curve.astype(np.float64).tolist() for name, curve in vars(changes).items()}
            found["layers"][own.name] = {
                "maps": list(own.channels),
                **{name: [plain(float(value)) for value in curve] for name, curve in curves.items()},
                "settled": {one: self._settled(changes, one, SETTLED_SHARE) for one in MEASURES},
            }
        return found | {"skipped": [vars(own) for own in self.skipped]}

    def to_bytes(self) -> bytes:
        """Return the result as bytes: an npz that holds its JSON too, and is not compressed."""
        # tiles are compressed already and weights do not compress: trying takes seconds after each step
        text, arrays = self._parts()
        buffer = io.BytesIO()
        np.savez(buffer, **arrays, json=np.frombuffer(text.encode(), np.uint8))  # type: ignore[arg-type]
        return buffer.getvalue()

    def _settled(self, changes: LayerChanges, measure: str, share: float) -> str | None:
        if measure not in MEASURES:
            raise BadInputError(f"what settles is one of {', '.join(MEASURES)}, got {measure!r}")
        place = settled_at(getattr(changes, measure), share)
        return None if place is None else self.steps[place]

    def _tile(self, row: int, column: int) -> NDArray[np.float32]:
        ends = self.tile_ends.ravel()
        place = row * self.tile_ends.shape[1] + column
        start, stop = (int(ends[place - 1]) if place else 0), int(ends[place])
        height, width, channels = self._tile_shapes[column]
        data, scale = self.tiles[start:stop].tobytes(), float(self.scales[row, column])
        try:
            return decode_projection(data, scale, channels, (height, width))
        except (ValueError, OSError) as error:
            raise BadInputError(f"the projection of step {self.steps[row]!r} is damaged ({error})") from error

    def unlikeness_of(self, row: int, other: int) -> NDArray[np.float64]:
        """Return (m,) how unlike the projections of each map are at two steps, given by their rows."""
        n_maps = self.tile_ends.shape[1]
        return np.array([unlikeness(self._tile(other, i), self._tile(row, i)) for i in range(n_maps)])

    @property
    def _tile_shapes(self) -> list[tuple[int, int, int]]:
        return [own.tile for own in self.layers for _ in own.channels]

    @property
    def _filter_shapes(self) -> list[tuple[int, ...]]:
        return [shape for own in self.layers for shape in own.filters]

    @property
    def _filter_ends(self) -> list[int]:
        """Where the filters of the columns begin and end: one number more than there are columns."""
        lengths = [int(np.prod(shape)) if shape else 0 for shape in self._filter_shapes]
        return [0, *np.cumsum(lengths).tolist()]

    def _filter_changes(self, at: slice) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return (n - 1, maps) the relative length of the change of filters, and 1 - cosine; NaN without a filter."""
        ends = self._filter_ends
        own = [self.filters[:, ends[i] : ends[i + 1]] for i in range(at.start, at.stop)]
        nothing = np.full(max(len(self.steps) - 1, 0), np.nan)
        moved, turned = (
            [f(one) if one.shape[1] else nothing for one in own] for f in (relative_changes, turns)
        )
        return np.stack(moved, 1), np.stack(turned, 1)


def _span(layers: tuple[FollowedLayer, ...], layer: FollowedLayer, count: Any) -> slice:
    """Return the columns of a layer, where each layer has as many as `count` says."""
    start = sum(count(own) for own in layers[: layers.index(layer)])
    return slice(start, start + count(layer))
