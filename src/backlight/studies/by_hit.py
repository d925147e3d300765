"""What studies of an atlas's hits share: a result with a row for each hit, and layers studied one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from backlight.atlas import Atlas
from backlight.errors import BadInputError
from backlight.network.layers import Layers, layer_names
from backlight.progress import Watching
from backlight.studies.numbers import nanmean
from backlight.studies.progress import Count
from backlight.studies.results import Result
from backlight.studies.subjects import Subject, choose_subjects

_Own = TypeVar("_Own", bound="HitResult")


@runtime_checkable
class HitConfig(Protocol):
    """How many hits a study takes, as `choose_subjects` asks it."""

    @property
    def maps(self) -> int | None:
        """Feature maps of each layer; None for all."""

    @property
    def hits(self) -> int:
        """Hits of each map."""

    @property
    def seed(self) -> int:
        """Random seed for the draw."""


@dataclass(frozen=True, eq=False, repr=False)
class HitResult(Result):
    """A result with a row for each of n hits: every array starts with them, (n, …).

    Attributes:
        config: What was studied.
        methods: What is compared.
        layers: The layers.
        rules: For each layer the atlas's own rule set.
        layer_index: (n,) the layer of each of n hits, as a position in layers.
        channels: (n,) their feature maps.
        ranks: (n,) their ranks among the map's hits.
    """

    config: Any
    methods: tuple[str, ...]
    layers: tuple[str, ...]
    rules: tuple[str, ...]
    layer_index: NDArray[np.int64]
    channels: NDArray[np.int64]
    ranks: NDArray[np.int64]

    def own_rules(self, layer: str) -> str:
        """Return the rule set with which the atlas's projections of a layer were made."""
        return self.rules[self.layers.index(layer)]

    def hits_of(self, layer: str) -> NDArray[np.bool_]:
        """Return which of the n hits are of a layer."""
        mine: NDArray[np.bool_] = self.layer_index == self.layers.index(layer)
        return mine

    def by_map(self, layer: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return values (n, …) averaged over the hits of each map of a layer, (maps, …), in order of the channels."""
        mine = self.hits_of(layer)
        return np.stack(
            [nanmean(values[mine & (self.channels == c)]) for c in np.unique(self.channels[mine])]
        )

    def of(self: _Own, layer: str) -> _Own:
        """Return the result of one layer."""
        mine = self.hits_of(layer)
        arrays: dict[str, Any] = {name: getattr(self, name)[mine] for name in _arrays(self)}
        index = np.zeros(int(mine.sum()), np.int64)
        return replace(self, layers=(layer,), rules=(self.own_rules(layer),), layer_index=index, **arrays)


def merged(results: Sequence[_Own]) -> _Own:
    """Return the results of several layers as one."""
    arrays: dict[str, Any] = {
        name: np.concatenate([getattr(own, name) for own in results]) for name in _arrays(results[0])
    }
    return replace(
        results[0],
        layers=tuple(layer for own in results for layer in own.layers),
        rules=tuple(rules for own in results for rules in own.rules),
        layer_index=np.concatenate([np.full(len(own.channels), i) for i, own in enumerate(results)]),
        **arrays,
    )


def subjects_of(atlas: Atlas, layers: Layers | None, config: HitConfig) -> dict[str, list[list[Subject]]]:
    """Return by layer the hits that are studied, map by map.

    Raises:
        UnknownLayerError: The atlas has no such layer.
    """
    return {
        name: choose_subjects(atlas, name, config.maps, config.hits, config.seed)
        for name in layer_names(layers or list(atlas))
    }


def count_subjects(chosen: dict[str, list[list[Subject]]]) -> int:
    """Return how many hits were chosen."""
    return sum(len(own) for maps in chosen.values() for own in maps)


def count_of(chosen: dict[str, list[list[Subject]]], study: str, progress: Watching) -> Count:
    """Return what counts the hits of a study, for its progress.

    Raises:
        BadInputError: There are none.
    """
    n_all = count_subjects(chosen)
    if not n_all:
        raise BadInputError("none of the layers has a hit to study; build the atlas with more maps or images")
    return Count(progress, study, n_all)


def layer_by_layer(
    atlas: Atlas,
    kind: type[_Own],
    config: HitConfig,
    chosen: dict[str, list[list[Subject]]],
    count: Count,
    study: Callable[[str, list[list[Subject]]], _Own],
) -> Iterator[_Own]:
    """Yield the results of layers; one that the atlas has kept of the same study is not made again.

    Args:
        atlas: The atlas.
        kind: The result's class.
        config: What is studied.
        chosen: By layer the hits, map by map.
        count: Counts hits that need not be studied again; the study counts the others.
        study: Returns the result of a layer.
    """
    for name, maps in chosen.items():
        known = _kept(atlas, name, kind, config)
        if known is not None:
            count.add(len(known.channels))
            yield known
        elif any(maps):
            yield study(name, maps)


def _kept(atlas: Atlas, layer: str, kind: type[_Own], config: HitConfig) -> _Own | None:
    """Return the same study of a layer as the atlas has kept it; None where it has not."""
    try:
        data = atlas[layer].studies.get(kind.study)
        found = kind.from_bytes(data) if data else None
    except BadInputError:  # damaged: the layer is studied again and the new result replaces it
        return None
    return found if found is not None and found.config == config else None


def _arrays(result: HitResult) -> list[str]:
    """Return the names of the arrays that start with the hits."""
    names = [field.name for field in fields(result) if isinstance(getattr(result, field.name), np.ndarray)]
    return [name for name in names if name != "layer_index"]
