"""Files of adaptive networks: safetensors, with everything but the arrays as JSON in the header.

A finished network is NAME.adn; a training in progress is kept in NAME.adn.part, which is replaced as a whole after each
epoch, so that a kill at any moment loses at most that epoch.
"""

from __future__ import annotations

import hashlib
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
from backlight.adaptive.learning import EpochMeasure, LayerMeasure
from backlight.adaptive.training import TrainingState
from backlight.errors import BadInputError
from backlight.storage import check_place, replacing, unwritable
from backlight.storage.arrays import BROKEN, checksum

_FORMAT = "2"
_UNCHECKED = "1"
"""The format before there was a checksum."""
_KEY = "backlight-adaptive"
_ORIGINS = {"config": "another network", "learning": "other learning settings", "images": "other images"}
"""What a training belongs to, and how it is called where it differs."""


@dataclass(frozen=True, eq=False)
class Saved:
    """The contents of a network's file.

    Attributes:
        config: The network's configuration.
        filters: Of each layer.
        squared_norms: ‖R‖² of each layer, on the training images.
        history: A measure of each epoch.
        measures: A measure of each layer; none in files of older versions.
    """

    config: AdaptiveConfig
    filters: tuple[Tensor, ...]
    squared_norms: tuple[float, ...]
    history: tuple[EpochMeasure, ...]
    measures: tuple[LayerMeasure, ...] = ()


def write_network(saved: Saved, path: Path | str) -> None:
    """Write a finished network.

    Raises:
        StorageError: It cannot be written.
    """
    facts = {
        "config": saved.config,
        "squared_norms": saved.squared_norms,
        "history": saved.history,
        "measures": saved.measures,
    }
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
        history = tuple(cattrs.structure(facts["history"], list[EpochMeasure]))
        return Saved(config, filters, norms, history, tuple(_measures(facts)))
    except (*BROKEN, AttributeError, cattrs.BaseValidationError) as error:
        raise _damaged(Path(path), "network", error) from error


@dataclass(frozen=True)
class TrainingOrigin:
    """What a training belongs to: it resumes only if all of this is the same.

    Attributes:
        config: The network's configuration.
        learning: How it is learned.
        images: A fingerprint of the images.
    """

    config: AdaptiveConfig
    learning: Learning
    images: str


def write_training(state: TrainingState, origin: TrainingOrigin, path: Path | str) -> None:
    """Write a training in progress.

    Raises:
        StorageError: It cannot be written.
    """
    facts = {
        "kind": "training",
        "origin": origin,
        "squared_norms": state.squared_norms,
        "history": state.history,
        "measures": state.measures,
        "layer": state.layer,
        "epoch": state.epoch,
    }
    arrays = _named("filters", [own.numpy() for own in state.filters]) | _named("switches", state.switches)
    _write(Path(path), facts, arrays | {"pooled": np.asarray(state.pooled)})


def read_training(path: Path | str, origin: TrainingOrigin) -> TrainingState:
    """Return a training in progress.

    Raises:
        BadInputError: It belongs to other images or another network, or the file is damaged.
    """
    path = Path(path)
    facts, arrays = _read(path, "training")
    try:
        known = cattrs.structure(facts["origin"], TrainingOrigin)
        state = _training_state(facts, arrays)
        if not _fits(state, known.config):
            raise ValueError("its arrays do not fit its layers")
    except (*BROKEN, AttributeError, cattrs.BaseValidationError) as error:
        raise _damaged(path, "training", error) from error
    differing = [name for name in _ORIGINS if getattr(known, name) != getattr(origin, name)]
    if differing:
        raise BadInputError(
            f"{str(path)!r} is an unfinished training with {_ORIGINS[differing[0]]}; "
            "rerun it as it was started, or remove the file"
        )
    return state


def _training_state(facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> TrainingState:
    return TrainingState(
        filters=[from_numpy(own) for own in _listed("filters", arrays)],
        squared_norms=[float(n) for n in facts["squared_norms"]],
        history=cattrs.structure(facts["history"], list[EpochMeasure]),
        layer=int(facts["layer"]),
        epoch=int(facts["epoch"]),
        pooled=arrays["pooled"],
        switches=_listed("switches", arrays),
        measures=_measures(facts),
    )


def _measures(facts: Mapping[str, Any]) -> list[LayerMeasure]:
    # older versions did not measure layers
    return cattrs.structure(facts.get("measures", []), list[LayerMeasure])


def _fits(state: TrainingState, config: AdaptiveConfig) -> bool:
    """Return whether the arrays of a training are those of the layers that it says it has learned."""
    shapes, count = [tuple(own.shape) for own in state.filters], len(state.filters)
    return (
        bool(shapes)
        and shapes == _filter_shapes(config)[:count]
        and {count} == {len(state.squared_norms), len(state.switches)}
        and state.pooled.shape == state.switches[-1].shape
        and state.layer in (count, count + 1)
    )


def resume(checkpoint: Path | str, origin: TrainingOrigin, n_images: int) -> TrainingState | None:
    """Return the training in a checkpoint; None where there is none yet.

    Raises:
        BadInputError: It is another training.
        StorageError: The checkpoint could not be written.
    """
    check_place(checkpoint, "checkpoint")
    if not Path(checkpoint).exists():
        return None
    state = read_training(checkpoint, origin)
    if len(state.pooled) != n_images:
        raise BadInputError(
            f"{str(checkpoint)!r} is an unfinished training with {len(state.pooled)} images, got {n_images}; "
            "rerun it as it was started, or remove the file"
        )
    return state


def is_finished(path: Path | str) -> bool:
    """Return whether a training has learned all of its layers, so that only the network remains to be written.

    Raises:
        BadInputError: There is no such file, or it is damaged or something else.
    """
    facts, _ = _read(Path(path), "training")
    try:
        return int(facts["layer"]) > len(facts["origin"]["config"]["layers"])
    except BROKEN as error:
        raise _damaged(Path(path), "training", error) from error


def array_digest(array: NDArray[np.float32]) -> str:
    """Return a hash of the values of images."""
    sha = hashlib.sha256(str(array.shape).encode())
    for own in array:
        sha.update(own.tobytes())
    return sha.hexdigest()


def _filter_shapes(config: AdaptiveConfig) -> list[tuple[int, int, int, int]]:
    layers = enumerate(config.layers, start=1)
    return [(own.maps, config.inputs(i), own.filter, own.filter) for i, own in layers]


def _named(name: str, arrays: Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {f"{name}{i}": np.ascontiguousarray(array) for i, array in enumerate(arrays, start=1)}


def _listed(name: str, arrays: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
    count = sum(key.removeprefix(name).isdigit() for key in arrays if key.startswith(name))
    # by number: sorted by name, 10 would come before 2
    return [arrays[f"{name}{i}"] for i in range(1, count + 1)]


def _write(path: Path, facts: Mapping[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
    """Write a file, replacing an older one only once the new one is complete."""
    all_facts = {"format": _FORMAT, **cattrs.unstructure(dict(facts))}
    # The checksum is that of the facts as a reader gets them: written to JSON and read back.
    text = json.dumps(all_facts | {"checksum": checksum(json.loads(json.dumps(all_facts)), arrays)})
    with replacing(path) as (fresh,):
        mode = fresh.stat().st_mode  # safetensors makes a file that only its owner can read
        # It also starts with a file of an unpredictable name: here in a folder that `sweep` finds after a kill.
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
            raise ValueError("its checksum does not match its contents")
        return facts, arrays
    except (SafetensorError, *BROKEN) as error:
        raise _damaged(path, kind, error) from error


def _damaged(path: Path, kind: str, error: Exception) -> BadInputError:
    lines = str(error).strip().splitlines()
    what = "an adaptive network" if kind == "network" else "a training of an adaptive network"
    return BadInputError(
        f"{str(path)!r} is damaged, or not {what} ({lines[0] if lines else type(error).__name__})",
        python="fit an AdaptiveDeconvNet again and save it there",
        command="learn it again with `backlight adaptive fit`",
    )
