"""Files of adaptive networks: safetensors, with everything that is no array as JSON in its header.

A finished network is NAME.adn; a training under way keeps itself in NAME.adn.part, replaced as a whole after each
epoch, so that a kill at any moment loses at most that epoch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any

import cattrs
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor, from_numpy

from backlight.adaptive.config import AdaptiveConfig, Learning
from backlight.adaptive.learning import EpochMeasure
from backlight.adaptive.training import TrainingState
from backlight.errors import BadInputError
from backlight.storage import replacing, unwritable
from backlight.storage.arrays import BROKEN, checksum

_FORMAT = "2"
_UNCHECKED = "1"
"""The format before there was a checksum."""
_KEY = "backlight-adaptive"


@dataclass(frozen=True, eq=False)
class Saved:
    """What a network's file holds.

    Attributes:
        config: Of the network.
        filters: Of each layer.
        squared_norms: ‖R‖² of each layer, on the images that it was learned on.
        history: A measure of each epoch of learning.
    """

    config: AdaptiveConfig
    filters: tuple[Tensor, ...]
    squared_norms: tuple[float, ...]
    history: tuple[EpochMeasure, ...]


def write_network(saved: Saved, path: Path | str) -> None:
    """Write a finished network.

    Raises:
        StorageError: It cannot be written.
    """
    facts = {"config": saved.config, "squared_norms": saved.squared_norms, "history": saved.history}
    _write(Path(path), {"kind": "network"} | facts, _named("filters", [f.numpy() for f in saved.filters]))


def read_network(path: Path | str) -> Saved:
    """Return what `write_network` wrote.

    Raises:
        BadInputError: There is no such file, or it is damaged or something else.
    """
    facts, arrays = _read(Path(path), "network")
    try:
        config = cattrs.structure(facts["config"], AdaptiveConfig)
        filters = tuple(from_numpy(arrays[f"filters{i}"]) for i in range(1, len(config.layers) + 1))
        if [tuple(f.shape) for f in filters] != _filter_shapes(config) or len(facts["squared_norms"]) != len(
            filters
        ):
            raise ValueError("its filters do not fit its layers")
        norms = tuple(float(n) for n in facts["squared_norms"])
        return Saved(config, filters, norms, tuple(cattrs.structure(facts["history"], list[EpochMeasure])))
    except (*BROKEN, AttributeError, cattrs.BaseValidationError) as error:
        raise _damaged(Path(path), "network", error) from error


@dataclass(frozen=True)
class Origin:
    """What a training belongs to: it goes on only with the same.

    Attributes:
        config: Of the network.
        learning: How it is learned.
        images: A fingerprint of the images.
    """

    config: AdaptiveConfig
    learning: Learning
    images: str


def write_training(state: TrainingState, origin: Origin, path: Path | str) -> None:
    """Keep a training under way.

    Raises:
        StorageError: It cannot be written.
    """
    facts = {
        "kind": "training",
        "origin": origin,
        "squared_norms": state.squared_norms,
        "history": state.history,
        "layer": state.layer,
        "epoch": state.epoch,
    }
    arrays = _named("filters", [own.numpy() for own in state.filters]) | _named("switches", state.switches)
    _write(Path(path), facts, arrays | {"pooled": np.asarray(state.pooled)})


def read_training(path: Path | str, origin: Origin) -> TrainingState:
    """Return a training under way.

    Raises:
        BadInputError: It belongs to other images or another network, or the file is damaged.
    """
    path = Path(path)
    facts, arrays = _read(path, "training")
    try:
        known = cattrs.structure(facts["origin"], Origin)
        state = TrainingState(
            filters=[from_numpy(own) for own in _listed("filters", arrays)],
            squared_norms=[float(n) for n in facts["squared_norms"]],
            history=cattrs.structure(facts["history"], list[EpochMeasure]),
            layer=int(facts["layer"]),
            epoch=int(facts["epoch"]),
            pooled=arrays["pooled"],
            switches=_listed("switches", arrays),
        )
        shapes, count = [tuple(own.shape) for own in state.filters], len(state.filters)
        if (
            not shapes
            or shapes != _filter_shapes(known.config)[:count]
            or {count} != {len(state.squared_norms), len(state.switches)}
            or state.pooled.shape != state.switches[-1].shape
            or state.layer not in (count, count + 1)
        ):
            raise ValueError("its arrays do not fit its layers")
    except (*BROKEN, AttributeError, cattrs.BaseValidationError) as error:
        raise _damaged(path, "training", error) from error
    if known != origin:
        what = next(
            name for name in ("config", "learning", "images") if getattr(known, name) != getattr(origin, name)
        )
        told = {"config": "another network", "learning": "another way of learning", "images": "other images"}[
            what
        ]
        raise BadInputError(
            f"{str(path)!r} is an unfinished training with {told}; give what it was started with, or remove it"
        )
    return state


def is_finished(path: Path | str) -> bool:
    """Return whether a training has learned all of its layers, so that only its network is left to be written.

    Raises:
        BadInputError: There is no such file, or it is damaged or something else.
    """
    facts, _ = _read(Path(path), "training")
    try:
        return int(facts["layer"]) > len(facts["origin"]["config"]["layers"])
    except BROKEN as error:
        raise _damaged(Path(path), "training", error) from error


def _filter_shapes(config: AdaptiveConfig) -> list[tuple[int, int, int, int]]:
    layers = enumerate(config.layers, start=1)
    return [(own.maps, config.inputs(i), own.filter, own.filter) for i, own in layers]


def _named(name: str, arrays: Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {f"{name}{i}": np.ascontiguousarray(array) for i, array in enumerate(arrays, start=1)}


def _listed(name: str, arrays: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
    count = sum(key.removeprefix(name).isdigit() for key in arrays if key.startswith(name))
    return [arrays[f"{name}{i}"] for i in range(1, count + 1)]


def _write(path: Path, facts: Mapping[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
    """Write a file as a whole: what was there is whole until the new one is."""
    all_facts = {"format": _FORMAT, **cattrs.unstructure(dict(facts))}
    text = json.dumps(all_facts | {"checksum": checksum(json.loads(json.dumps(all_facts)), arrays)})
    with replacing(path) as (fresh,):
        mode = fresh.stat().st_mode  # safetensors makes a file that only its owner can read
        # It also makes a file of a name that nobody knows first: in a folder that `sweep` finds after a kill.
        folder = fresh.with_suffix("")
        folder.mkdir()
        try:
            save_file(arrays, folder / "new", {_KEY: text})
            fresh.unlink()
            (folder / "new").rename(fresh)
        except SafetensorError as error:  # a full disk, by another name
            raise unwritable(path, error) from error
        finally:
            rmtree(folder, ignore_errors=True)
        fresh.chmod(mode)


def _read(path: Path, kind: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    if not path.is_file():
        raise BadInputError(
            f"no such file: {str(path)!r}",
            python="fit an AdaptiveDeconvNet and save it there",
            command="`backlight adaptive fit IMAGES -o FILE.adn` makes one",
        )
    try:
        with safe_open(path, "numpy") as file:
            facts = json.loads((file.metadata() or {})[_KEY])
            if facts["format"] not in (_FORMAT, _UNCHECKED) or facts["kind"] != kind:
                raise ValueError(f"it holds a {facts['kind']} of format {facts['format']}")
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        known = facts.pop("checksum", None)
        if known != checksum(facts, arrays) and (known is not None or facts["format"] != _UNCHECKED):
            raise ValueError("its checksum is not that of what it holds")
        return facts, arrays
    except (SafetensorError, *BROKEN) as error:
        raise _damaged(path, kind, error) from error


def _damaged(path: Path, kind: str, error: Exception) -> BadInputError:
    lines = str(error).strip().splitlines()
    what = "an adaptive network" if kind == "network" else "a training of an adaptive network"
    return BadInputError(
        f"{str(path)!r} is damaged, or not {what} ({lines[0] if lines else type(error).__name__})",
        python="fit an AdaptiveDeconvNet again and save it there",
        command="make it anew with `backlight adaptive fit`",
    )
