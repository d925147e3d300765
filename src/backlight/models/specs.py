"""Model specs: the names of models on the command line, and what they load."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from torch import nn

from backlight.errors import BadInputError
from backlight.images import Preprocessing
from backlight.models.callables import from_callable
from backlight.models.huggingface import from_hugging_face
from backlight.models.loaded import LoadedModel
from backlight.models.loading import load_weights
from backlight.models.programs import from_program
from backlight.models.zoos import from_zoo

FORMS = (
    "torchvision:NAME, timm:NAME, hf:FOLDER or hf:NAME (transformers), package.module:callable, "
    "path/file.py:callable, a .pt2 file, or demo; "
    "MODEL#backbone selects a part of it"
)

_WEIGHTS = (".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".h5", ".onnx", ".tflite", ".npz", ".pb")
_FILE = re.compile(r"(?P<place>.+\.py)(?::(?P<name>.*))?", re.DOTALL)  # a path may contain colons itself
_SUBMODULE = re.compile(r"(?P<spec>.+)#(?P<path>\w+(?:\.\w+)*)", re.DOTALL)


def load_model(spec: str, weights: str | None = None) -> LoadedModel:
    """Return the model that a spec names, with its weights.

    Args:
        spec: One of torchvision:NAME, timm:NAME, hf:FOLDER or hf:NAME, package.module:callable, path/file.py:callable,
            a .pt2 file, or demo. A callable takes no arguments and returns the model, or is the model itself. With
            #PATH, the submodule at that path, as in mine.py:make#backbone.layer1.
        weights: A file with weights for the whole model, .safetensors or written by torch.save; no code from it is
            run. DEFAULT downloads the zoo's own weights; None keeps those that the spec gives (of hf, those in the
            folder, or downloaded before).

    Raises:
        BadInputError: There is no such model.
        WeightsError: The weights cannot be read or do not fit.
    """
    part = _SUBMODULE.fullmatch(spec)
    if part is not None and not Path(spec).exists():
        whole = load_model(part["spec"], weights)
        model = _submodule(whole.model, part["path"], part["spec"])
        return replace(whole, model=model, spec=spec, channels=None, size=None)
    kind, _, name = spec.partition(":")
    if kind == "hf" and name:
        return from_hugging_face(name, weights)
    if kind in ("torchvision", "timm") and name:
        return from_zoo(kind, name, weights)
    loaded = _outside_the_zoos(spec)
    if weights == "DEFAULT":
        raise BadInputError(f"{spec!r} is not from a zoo and has no DEFAULT weights; give a file")
    if weights is None:
        return loaded
    note = load_weights(loaded.model, weights, spec)
    return replace(loaded, notes=(*loaded.notes, note) if note else loaded.notes)


def is_code(spec: str) -> bool:
    """Return whether a model must be named by the user himself: loading it runs its author's code, or reads his files.

    False only for names of torchvision and timm and the demo; only those may be taken from someone else's file. What
    hf: names is no code, but a folder or a download chosen by whoever wrote the file.

    Example:
        >>> is_code("torchvision:resnet50"), is_code("mine.py:make")
        (False, True)
    """
    return re.fullmatch(r"(demo|(torchvision|timm):[\w.]+)(#\w+(\.\w+)*)?", spec) is None


def _outside_the_zoos(spec: str) -> LoadedModel:
    """Return a model that is not from a zoo, with the weights that its spec gives."""
    place, _, name = spec.rpartition(":")
    if spec == "demo":
        return _demo()
    if spec.endswith(".pt2"):
        return from_program(Path(spec))
    if (file := _FILE.fullmatch(spec)) is not None:
        return from_callable(file["place"], file["name"] or "", spec)
    if place and name:
        return from_callable(place, name, spec)
    if spec.lower().endswith(_WEIGHTS):
        raise BadInputError(
            f"{spec!r} is a weights file, not a model",
            python="name the model that it belongs to, and the file as its weights",
            command=f"name the model that it belongs to, with --weights {spec}",
        )
    raise BadInputError(f"{spec!r} is not a model; a model is {FORMS}{_zoo_suggestion(spec)}")


def _zoo_suggestion(name: str) -> str:
    """Return a question that suggests the zoos that have a model of this name, or the folder of one of transformers."""
    from torchvision.models import list_models

    found = [f"torchvision:{name}"] if name in list_models() else []
    with suppress(ImportError):
        import timm

        found += [f"timm:{name}"] if name in timm.list_models() else []
    if (Path(name) / "config.json").is_file():
        found.append(f"hf:{name}")
    return f"; did you mean {' or '.join(found)}?" if found else ""


def _demo() -> LoadedModel:
    try:
        import backlight_demo
    except ImportError as error:
        raise BadInputError(
            "the demo's model is not installed; run `make demo` in a clone, or `pip install backlight-demo`"
        ) from error
    return LoadedModel(
        backlight_demo.model(), Preprocessing.from_dict(backlight_demo.PREPROCESSING), False, "demo"
    )


def _submodule(model: nn.Module, path: str, spec: str) -> nn.Module:
    """Return the submodule at a path."""
    found: nn.Module | None = dict(model.named_modules(remove_duplicate=False)).get(path)
    if found is not None:
        return found
    names = [name for name, _ in model.named_modules() if name]
    close = get_close_matches(path, names, 3) or [name for name, _ in model.named_children()][:6]
    known = f"; it has {', '.join(close)}" if close else "; it has no submodules"
    raise BadInputError(f"{spec} has no submodule {path!r}{known}")
