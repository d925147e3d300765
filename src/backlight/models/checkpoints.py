"""Weights files: what lies in them, read without running anything of theirs."""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from backlight.errors import WeightsError
from backlight.models import inert
from backlight.models.loaded import first_line

READABLE = (
    "a .safetensors file, or what torch.save wrote (.pt, .pth, .ckpt, .bin): a state dict or a checkpoint"
)

_WRAPPERS = (
    *(
        "state_dict",
        "model_state_dict",
        "model_state",
        "model",
        "net",
        "network",
        "module",
        "weights",
        "params",
    ),
    *("student", "teacher"),
    *(
        "model_ema",
        "ema",
        "ema_model",
        "params_ema",
        "state_dict_ema",
        "ema_state_dict",
        "model_ema_state_dict",
    ),
)  # in the order in which they are preferred: an average of the weights comes after the weights themselves
_DEPTH = 3
_MAGIC = {  # first bytes of a file, and what it then is
    b"\x89HDF": "an HDF5 file (Keras)",
    b"\x93NUMPY": "a NumPy array",
    b"GGUF": "a GGUF file",
    b"\x1f\x8b": "a gzip archive",
    b"7z\xbc\xaf": "a 7z archive",
}
_SUFFIXES = {
    ".npz": "NumPy arrays",
    ".npy": "a NumPy array",
    ".h5": "an HDF5 file (Keras)",
    ".keras": "a Keras model",
    ".onnx": "an ONNX graph",
    ".tflite": "a TensorFlow Lite model",
    ".pb": "a TensorFlow graph",
    ".index": "a TensorFlow checkpoint",
    ".msgpack": "a Flax checkpoint",
    ".gguf": "a GGUF file",
    ".mlmodel": "a Core ML model",
    ".engine": "a TensorRT engine",
}


@dataclass(frozen=True)
class State:
    """One state dict that lies in a weights file.

    Attributes:
        place: Under which key of the file it lies, such as `model` or `ema.state_dict`; empty for the whole file.
        tensors: The tensors by name.
        others: Names of what is there but is no tensor.
    """

    place: str
    tensors: Mapping[str, Tensor]
    others: tuple[str, ...] = ()


def read_states(path: str) -> list[State]:
    """Return the state dicts of a weights file, those that hold the weights themselves first.

    Args:
        path: A .safetensors file, or a file that torch.save wrote: a state dict, or a trainer's checkpoint with
            such dicts under its keys, up to three deep. What else the checkpoint pickles is not run.

    Returns:
        At least one; each with at least one tensor.

    Raises:
        WeightsError: The file is not there, damaged, of another kind, or holds no state dict.
    """
    file = Path(path)
    if not file.is_file():
        raise WeightsError(
            f"{path!r} is a folder; give the file in it"
            if file.is_dir()
            else f"no such weights file: {path!r}"
        )
    try:
        with file.open("rb") as opened:
            start = opened.read(16)
    except OSError as error:
        raise WeightsError(f"{path!r} cannot be read ({error.strerror or error})") from error
    _check_kind(file, start)
    content = _read_safetensors(file) if _is_safetensors(file, start) else _read_torch(file)
    _check_content(content, path)
    states = list(_states(content))
    if not states:
        raise WeightsError(f"{path!r} holds no state dict{_found(content)}; save `model.state_dict()`")
    return sorted(states, key=_preference)


def _check_kind(file: Path, start: bytes) -> None:
    """Refuse what is plainly no weights file of PyTorch, in words that say what it is."""
    path = str(file)
    if not start:
        raise WeightsError(f"{path!r} is empty (0 bytes); copy or download it again")
    if file.name.endswith(".index.json"):
        raise WeightsError(
            f"{path!r} only lists the files that a model is split into{_n_shards(file)}; load it with the library that "
            "wrote it, and save its state_dict() as one file"
        )
    kind = _SUFFIXES.get(file.suffix.lower())
    kind = kind or next((name for magic, name in _MAGIC.items() if start.startswith(magic)), None)
    if start.startswith(b"version https://"):
        kind = "a Git LFS pointer, not the weights themselves (run `git lfs pull`)"
    elif start.lstrip()[:5].lower() in (b"<!doc", b"<html"):
        kind = "a web page, not the weights (the download needs a login, or another address)"
    if kind:
        raise WeightsError(f"{path!r} is {kind}; weights are {READABLE}")


def _n_shards(file: Path) -> str:
    try:
        names = set(json.loads(file.read_text())["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ""
    return f" ({len(names)} files)"


def _is_safetensors(file: Path, start: bytes) -> bool:
    length = int.from_bytes(start[:8], "little")
    return file.suffix.lower() == ".safetensors" or (start[8:9] == b"{" and length < file.stat().st_size)


def _read_safetensors(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except (SafetensorError, OSError, RuntimeError, ValueError, KeyError) as error:
        raise WeightsError(
            f"{str(file)!r} is cut off, damaged, or no safetensors file ({first_line(error)}); copy it again"
        ) from error


def _read_torch(file: Path) -> Any:
    """Return what torch.save wrote; classes other than torch's own become placeholders."""
    path = str(file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:  # more than tensors, or no pickle at all
            first = error
        except Exception as error:
            raise WeightsError(_unreadable(path, error)) from error
        try:
            return torch.load(file, map_location="cpu", weights_only=False, pickle_module=inert)
        except Exception as error:
            raise WeightsError(_unreadable(path, error)) from first


def _unreadable(path: str, error: Exception) -> str:
    reason = first_line(error)
    if "TorchScript" in reason:
        return (
            f"{path!r} is a TorchScript program, not weights; save `torch.jit.load(FILE).state_dict()` "
            "with torch.save and give that"
        )
    if "tar" in reason and "legacy" in reason:
        return (
            f"{path!r} is a .tar file of PyTorch before 0.1.10; load and save it again with a newer PyTorch"
        )
    if any(word in reason for word in ("PytorchStreamReader", "Ran out of input", "central directory")):
        return f"{path!r} is cut off or damaged; copy or download it again"
    return f"{path!r} cannot be read as weights (damaged, or of another kind); weights are {READABLE}"


def _check_content(content: Any, path: str) -> None:
    """Refuse whole pickled modules, which only running their code could rebuild, and names that are numbers."""
    held = (content, *(content.values() if isinstance(content, Mapping) else ()))
    modules = [v for v in held if isinstance(v, inert.Placeholder) and "_modules" in v.state]
    if modules and not any(True for _ in _states(content)):
        raise WeightsError(
            f"{path!r} holds a whole pickled module ({modules[0].kind}), and reading that runs its code; "
            "save `model.state_dict()` and give that file"
        )
    for mapping in (v for v in held if isinstance(v, Mapping)):
        numbered = [k for k, v in mapping.items() if not isinstance(k, str) and isinstance(v, Tensor)]
        if numbered:
            raise WeightsError(
                f"{path!r} names its tensors by numbers (first {numbered[0]!r}), so they cannot be told apart; "
                "save `model.state_dict()`"
            )


def _found(content: Any) -> str:
    """Return in words what a file holds that is no state dict."""
    if isinstance(content, inert.Placeholder):
        return f", but a {content.kind}"
    if isinstance(content, Tensor):
        return ", but a single tensor"
    if isinstance(content, Mapping):
        if any(isinstance(v, inert.Placeholder) and v.kind.startswith("numpy.") for v in content.values()):
            return ", but NumPy arrays: make tensors of them with torch.from_numpy"
        keys = ", ".join(str(key)[:40] for key in list(content)[:4])
        return f" (its keys: {keys})" if keys else ", but an empty dict"
    return f", but a {type(content).__name__}"


def _states(content: Any, place: tuple[str, ...] = ()) -> Iterator[State]:
    """Yield every mapping of names to tensors in a checkpoint: itself, and those under its keys."""
    if not isinstance(content, Mapping):
        return
    named = {str(k): v for k, v in content.items() if isinstance(k, str)}
    tensors = {k: v for k, v in named.items() if isinstance(v, Tensor)}
    if tensors:
        others = tuple(k for k, v in named.items() if not isinstance(v, (Tensor, Mapping)))
        yield State(".".join(place), tensors, others)
    if len(place) < _DEPTH:
        for key, value in named.items():
            if not key.startswith(("optim", "_metadata")):
                yield from _states(value, (*place, key))


def is_usual(state: State) -> bool:
    """Return whether a state dict lies where trainers put the weights of their one model."""
    keys = set(state.place.split(".")) if state.place else set()
    return keys <= set(_WRAPPERS) - {"student", "teacher"}


def _preference(state: State) -> tuple[int, ...]:
    """Return a rank: known keys in their order, unknown ones last; the whole file is first."""
    keys = state.place.split(".") if state.place else []
    return tuple(_WRAPPERS.index(key) if key in _WRAPPERS else len(_WRAPPERS) for key in keys)
