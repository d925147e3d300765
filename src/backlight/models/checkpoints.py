"""Weights files: the state dicts in them, read without running any code from the file."""

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

from backlight.errors import WeightsError, first_line
from backlight.models import inert

READABLE = (
    "a .safetensors file, or what torch.save wrote (.pt, .pth, .ckpt, .bin): a state dict or a checkpoint"
)

# Keys under which trainers save weights, the preferred first: an average comes after the weights themselves.
_PLAIN_KEYS = (
    *("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module"),
    *("weights", "params"),
)
_DISTILLED_KEYS = ("student", "teacher")
_AVERAGE_KEYS = (
    *("model_ema", "ema", "ema_model", "params_ema", "state_dict_ema", "ema_state_dict"),
    "model_ema_state_dict",
)
_KEYS = (*_PLAIN_KEYS, *_DISTILLED_KEYS, *_AVERAGE_KEYS)
_DEPTH = 3
_MAGIC = {  # the first bytes of a file, and its kind
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
class StateDict:
    """A state dict found in a weights file.

    Attributes:
        place: Its key in the file, such as `model` or `ema.state_dict`; empty if it is the whole file.
        tensors: The tensors by name.
        others: Names of entries that are not tensors.
    """

    place: str
    tensors: Mapping[str, Tensor]
    others: tuple[str, ...] = ()


def read_state_dicts(path: str) -> list[StateDict]:
    """Return the state dicts in a weights file, starting with those of the weights themselves.

    Args:
        path: A .safetensors file, or a file written by torch.save: a state dict, or a trainer's checkpoint with
            state dicts under its keys, up to three levels deep. Other pickled objects in it are not run.

    Returns:
        At least one state dict, each with at least one tensor.

    Raises:
        WeightsError: The file is missing, damaged, of another kind, or contains no state dict.
    """
    file = Path(path)
    if not file.is_file():
        raise WeightsError(
            f"{path!r} is a folder; give a file in it" if file.is_dir() else f"no such weights file: {path!r}"
        )
    try:
        with file.open("rb") as opened:
            start = opened.read(16)
    except OSError as error:
        raise WeightsError(f"{path!r} cannot be read ({error.strerror or error})") from error
    _check_kind(file, start)
    content = _read_safetensors(file) if _is_safetensors(file, start) else _read_torch(file)
    _check_restorable(content, path)
    found = list(_state_dicts_in(content))
    if not found:
        raise WeightsError(f"{path!r} contains no state dict{_contents(content)}; save `model.state_dict()`")
    return sorted(found, key=_preference)


def _check_kind(file: Path, start: bytes) -> None:
    """Refuse a file that is plainly not a weights file of PyTorch, and say what it is."""
    path = str(file)
    if not start:
        raise WeightsError(f"{path!r} is empty (0 bytes); copy or download it again")
    if file.name.endswith(".index.json"):
        raise WeightsError(
            f"{path!r} only lists the files that a model is split into{_n_shards(file)}; load the model with the "
            "library that wrote it, and save its state_dict() as one file"
        )
    kind = _SUFFIXES.get(file.suffix.lower())
    kind = kind or next((name for magic, name in _MAGIC.items() if start.startswith(magic)), None)
    if start.startswith(b"version https://"):
        kind = "a Git LFS pointer, not the weights themselves (run `git lfs pull`)"
    elif start.lstrip()[:5].lower() in (b"<!doc", b"<html"):
        kind = "a web page, not the weights (the download needs a login, or a different address)"
    if kind:
        raise WeightsError(f"{path!r} is {kind}; weights are {READABLE}")


def _n_shards(file: Path) -> str:
    try:
        names = set(json.loads(file.read_text())["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ""
    return f" ({len(names)} files)"


def _is_safetensors(file: Path, start: bytes) -> bool:
    # A safetensors file starts with the length of its header in 8 bytes; the header is JSON.
    length = int.from_bytes(start[:8], "little")
    return file.suffix.lower() == ".safetensors" or (start[8:9] == b"{" and length < file.stat().st_size)


def _read_safetensors(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except (SafetensorError, OSError, RuntimeError, ValueError, KeyError) as error:
        raise WeightsError(
            f"{str(file)!r} is truncated, damaged, or not a safetensors file ({first_line(error)}); copy it again"
        ) from error


def _read_torch(file: Path) -> Any:
    """Return what torch.save wrote; objects of classes other than torch's own become placeholders."""
    path = str(file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:  # more than tensors, or not a pickle
            first = error
        except Exception as error:
            raise WeightsError(_why_unreadable(path, error)) from error
        try:
            return torch.load(file, map_location="cpu", weights_only=False, pickle_module=inert)
        except Exception as error:
            raise WeightsError(_why_unreadable(path, error)) from first


def _why_unreadable(path: str, error: Exception) -> str:
    reason = first_line(error)
    if "TorchScript" in reason:
        return (
            f"{path!r} is a TorchScript program, not weights; save `torch.jit.load(FILE).state_dict()` "
            "with torch.save and give that"
        )
    if "tar" in reason and "legacy" in reason:
        return (
            f"{path!r} was written by PyTorch before 0.1.10; load it and save it again with a newer PyTorch"
        )
    if any(word in reason for word in ("PytorchStreamReader", "Ran out of input", "central directory")):
        return f"{path!r} is truncated or damaged; copy or download it again"
    return f"{path!r} cannot be read as weights (damaged, or of another kind); weights are {READABLE}"


def _check_restorable(content: Any, path: str) -> None:
    """Refuse whole pickled modules, which only their own code could restore, and tensors named by numbers."""
    held = (content, *(content.values() if isinstance(content, Mapping) else ()))
    modules = [v for v in held if isinstance(v, inert.Placeholder) and "_modules" in v.state]
    if modules and next(_state_dicts_in(content), None) is None:
        raise WeightsError(
            f"{path!r} contains a whole pickled module ({modules[0].kind}), and reading that runs its code; "
            "save `model.state_dict()` and give that file"
        )
    for mapping in (v for v in held if isinstance(v, Mapping)):
        numbered = [k for k, v in mapping.items() if not isinstance(k, str) and isinstance(v, Tensor)]
        if numbered:
            raise WeightsError(
                f"{path!r} names its tensors by numbers (first {numbered[0]!r}), so they cannot be told apart; "
                "save `model.state_dict()`"
            )


def _contents(content: Any) -> str:
    """Return, in words, what a file contains instead of a state dict."""
    if isinstance(content, inert.Placeholder):
        return f", but a {content.kind}"
    if isinstance(content, Tensor):
        return ", but a single tensor"
    if isinstance(content, Mapping):
        if any(isinstance(v, inert.Placeholder) and v.kind.startswith("numpy.") for v in content.values()):
            return ", but NumPy arrays: convert them with torch.from_numpy"
        keys = ", ".join(str(key)[:40] for key in list(content)[:4])
        return f" (its keys: {keys})" if keys else ", but an empty dict"
    return f", but a {type(content).__name__}"


def _state_dicts_in(content: Any, place: tuple[str, ...] = ()) -> Iterator[StateDict]:
    """Yield every mapping of names to tensors in a checkpoint: the checkpoint itself, and those under its keys."""
    if not isinstance(content, Mapping):
        return
    named = {str(k): v for k, v in content.items() if isinstance(k, str)}
    tensors = {k: v for k, v in named.items() if isinstance(v, Tensor)}
    if tensors:
        others = tuple(k for k, v in named.items() if not isinstance(v, (Tensor, Mapping)))
        yield StateDict(".".join(place), tensors, others)
    if len(place) < _DEPTH:
        for key, value in named.items():
            if not key.startswith(("optim", "_metadata")):
                yield from _state_dicts_in(value, (*place, key))


def is_usual(state: StateDict) -> bool:
    """Return whether a state dict has a key under which trainers save the weights of their only model."""
    keys = set(state.place.split(".")) if state.place else set()
    return keys.issubset((*_PLAIN_KEYS, *_AVERAGE_KEYS))


def _preference(state: StateDict) -> tuple[int, ...]:
    """Return a sort key: the whole file comes first, then known keys in their order, then unknown ones."""
    keys = state.place.split(".") if state.place else []
    return tuple(_KEYS.index(key) if key in _KEYS else len(_KEYS) for key in keys)
