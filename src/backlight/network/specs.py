"""Model specs: how a model is named on the command line, and where its weights and preprocessing come from."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from backlight.errors import BadInputError, WeightsError
from backlight.images import Preprocessing

FORMS = "torchvision:NAME, timm:NAME, package.module:callable, path/file.py:callable, a .pt2 file, or demo"


@dataclass(frozen=True)
class LoadedModel:
    """A model as a spec named it.

    Attributes:
        model: The module, with its weights.
        preprocessing: What its zoo says about its inputs; None where nothing is known.
        channels: Channels of its input, as far as its first convolution tells.
        is_random: Whether its weights are its random initialisation.
    """

    model: nn.Module
    preprocessing: Preprocessing | None
    channels: int
    is_random: bool


def load_model(spec: str, weights: str | None = None) -> LoadedModel:
    """Return the model that a spec names, with its weights.

    Args:
        spec: One of torchvision:NAME, timm:NAME, package.module:callable, path/file.py:callable, a .pt2 file,
            demo. A callable takes no arguments and returns the model.
        weights: A .safetensors file or a state dict saved by torch (read with `weights_only=True`); DEFAULT
            downloads the zoo's own; None leaves what the spec gives.

    Raises:
        BadInputError: There is no such model.
        WeightsError: The weights cannot be read or do not fit.
    """
    kind, _, name = spec.partition(":")
    if spec == "demo":
        loaded = _demo()
    elif kind == "torchvision" and name:
        return _zoo(_torchvision, name, spec, weights)
    elif kind == "timm" and name:
        return _zoo(_timm, name, spec, weights)
    elif spec.endswith(".pt2"):
        loaded = _exported(Path(spec))
    elif name:
        loaded = _called(kind, name, spec)
    else:
        raise BadInputError(f"{spec!r} names no model; a model is {FORMS}")
    if weights == "DEFAULT":
        raise BadInputError(f"{spec!r} is in no zoo and has no DEFAULT weights; give a file")
    if weights is not None:
        load_weights(loaded.model, weights, spec)
    return loaded


def load_weights(model: nn.Module, path: str, spec: str) -> None:
    """Load a weights file into a model.

    Raises:
        WeightsError: The file cannot be read, or its tensors do not fit the model.
    """
    _fit(model, _read_state(path), path, spec)


_Maker = Callable[..., tuple[nn.Module, Preprocessing | None]]


def _zoo(make: _Maker, name: str, spec: str, weights: str | None) -> LoadedModel:
    if weights == "DEFAULT":
        model, preprocessing = make(name, download=True)
    elif weights is None:
        model, preprocessing = make(name)
    else:
        state = _read_state(weights)
        model, preprocessing = make(name)
        if not _fits(model, state):
            model, preprocessing = _with_classes(make, name, state) or (model, preprocessing)
        _fit(model, state, weights, spec)
    return LoadedModel(model.eval(), preprocessing, input_channels(model), weights is None)


def _with_classes(
    make: _Maker, name: str, state: Mapping[str, Tensor]
) -> tuple[nn.Module, Preprocessing | None] | None:
    """Return the model with as many classes as the weights' last tensor has rows, if those weights fit it."""
    last = list(state.values())[-1] if state else None
    if last is None or not last.dim():
        return None
    try:
        made = make(name, num_classes=len(last))
    except Exception:
        return None
    return made if _fits(made[0], state) else None


def _torchvision(
    name: str, download: bool = False, num_classes: int | None = None
) -> tuple[nn.Module, Preprocessing | None]:
    from torchvision.models import get_model, get_model_weights, list_models

    if name not in list_models():
        raise BadInputError(f"torchvision has no model {name!r}{_suggestion(name, list_models())}")
    zoo = get_model_weights(name)
    default = zoo.DEFAULT if len(zoo) else None
    try:
        preprocessing = Preprocessing.from_torchvision(default) if default is not None else None
    except BadInputError:  # a detection or video model: its transforms are not those of a classifier
        preprocessing = None
    options = {} if num_classes is None else {"num_classes": num_classes}
    return get_model(name, weights="DEFAULT" if download else None, **options), preprocessing


def _timm(
    name: str, download: bool = False, num_classes: int | None = None
) -> tuple[nn.Module, Preprocessing | None]:
    try:
        import timm
    except ImportError as error:
        raise BadInputError("timm is not installed; `pip install 'backlight[timm]'`") from error
    if name.partition(".")[0] not in timm.list_models():
        raise BadInputError(f"timm has no model {name!r}{_suggestion(name, timm.list_models())}")
    options: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    model: Any = timm.create_model(name, pretrained=download, **options)
    return model, Preprocessing.from_timm(model.pretrained_cfg)


def _demo() -> LoadedModel:
    try:
        import backlight_demo
    except ImportError as error:
        raise BadInputError(
            "the demo's model is not installed; `make demo` in a clone does it, or `pip install backlight-demo`"
        ) from error
    return LoadedModel(
        backlight_demo.model(), Preprocessing.from_dict(backlight_demo.PREPROCESSING), 3, False
    )


def _exported(path: Path) -> LoadedModel:
    if not path.is_file():
        raise BadInputError(f"no such file: {str(path)!r}")
    try:
        module = torch.export.load(path).module(check_guards=False)
    except Exception as error:
        raise BadInputError(
            f"{str(path)!r} is no program saved by torch.export.save ({_first_line(error)})"
        ) from error
    return LoadedModel(module, None, input_channels(module), False)


def _called(place: str, name: str, spec: str) -> LoadedModel:
    module = _module_from_file(Path(place)) if place.endswith(".py") else _module_from_package(place, spec)
    make = getattr(module, name, None)
    if not callable(make):
        raise BadInputError(f"{place!r} has no callable {name!r}; write one that returns the model")
    model = make()
    if not isinstance(model, nn.Module):
        raise BadInputError(f"{spec!r} returned {type(model).__name__}, not a torch.nn.Module")
    return LoadedModel(model, None, input_channels(model), False)


def _module_from_file(path: Path) -> Any:
    if not path.is_file():
        raise BadInputError(f"no such file: {str(path)!r}")
    found = importlib.util.spec_from_file_location(path.stem, path)
    if found is None or found.loader is None:
        raise BadInputError(f"{str(path)!r} cannot be imported as Python")
    module = importlib.util.module_from_spec(found)
    sys.path.insert(0, str(path.resolve().parent))
    try:
        found.loader.exec_module(module)
    finally:
        sys.path.pop(0)
    return module


def _module_from_package(place: str, spec: str) -> Any:
    sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(place)
    except ImportError as error:
        raise BadInputError(f"{spec!r}: {_first_line(error)}; a model is {FORMS}") from error
    finally:
        sys.path.pop(0)


def input_channels(model: nn.Module) -> int:
    """Return the channels that the model's first convolution reads; 3 where it has none."""
    for parameter in model.parameters():
        if parameter.dim() == 4:
            return int(parameter.shape[1])
    return 3


def _read_state(path: str) -> dict[str, Tensor]:
    file = Path(path)
    if not file.is_file():
        raise WeightsError(f"no such weights file: {path!r}")
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        state = torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError) as error:
        raise WeightsError(f"{path!r} cannot be read as weights ({_first_line(error)})") from error
    except Exception as error:  # a pickle that holds more than tensors
        raise WeightsError(
            f"{path!r} holds more than tensors ({_first_line(error)}); save `model.state_dict()` instead"
        ) from error
    return _unwrap(state, path)


def _unwrap(state: Any, path: str) -> dict[str, Tensor]:
    """Return the state dict inside a checkpoint, without the prefix that DataParallel adds."""
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsError(f"{path!r} holds no state dict; save `model.state_dict()`")
    if state and all(key.startswith("module.") for key in state):
        return {key.removeprefix("module."): value for key, value in state.items()}
    return dict(state)


def _fits(model: nn.Module, state: Mapping[str, Tensor]) -> bool:
    own = model.state_dict()
    return own.keys() == state.keys() and all(own[k].shape == state[k].shape for k in own)


def _fit(model: nn.Module, state: Mapping[str, Tensor], path: str, spec: str) -> None:
    own = model.state_dict()
    missing = [k for k in own if k not in state and not k.endswith("num_batches_tracked")]
    unexpected = [k for k in state if k not in own]
    shapes = [k for k in own if k in state and own[k].shape != state[k].shape]
    problems = []
    if missing:
        problems.append(f"{len(missing)} tensors are missing (first {missing[0]!r})")
    if unexpected:
        problems.append(f"{len(unexpected)} are not the model's (first {unexpected[0]!r})")
    if shapes:
        key = shapes[0]
        problems.append(
            f"{len(shapes)} have another shape (first {key!r}: {_size(state[key])}, the model has {_size(own[key])})"
        )
    if problems:
        raise WeightsError(
            f"{path!r} does not fit {spec}: {', '.join(problems)}; name the model they belong to"
        )
    model.load_state_dict(state, strict=False)


def _size(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def _suggestion(name: str, known: list[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, known, 3)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__
