"""The zoos: models of torchvision and timm by name; nothing is downloaded unless asked for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from torch import nn

from backlight.errors import BadInputError, WeightsError, first_line
from backlight.images import Preprocessing
from backlight.models.checkpoints import read_state_dicts
from backlight.models.fitting import best_fit
from backlight.models.loaded import LoadedModel
from backlight.models.loading import fill
from backlight.models.misfits import head_rows


@dataclass(frozen=True)
class _Made:
    """A model made by a zoo, the zoo's preprocessing, and a note on what Backlight does differently from it."""

    model: nn.Module
    preprocessing: Preprocessing | None
    note: str | None = None


_Maker = Callable[..., _Made]


def from_zoo(zoo: str, name: str, weights: str | None) -> LoadedModel:
    """Return a model of a zoo.

    Args:
        zoo: torchvision or timm.
        name: Its name there.
        weights: A file; DEFAULT, the only value that downloads anything, for the zoo's own weights; or None to
            keep the model's random initialisation.

    Raises:
        BadInputError: The zoo has no such model, or cannot make it without arguments.
        WeightsError: The weights cannot be read or do not fit.
    """
    make = _torchvision if zoo == "torchvision" else _timm
    spec = f"{zoo}:{name}"
    if weights is None or weights == "DEFAULT":
        made = make(name, download=weights == "DEFAULT")
        notes = [made.note]
    else:
        states = read_state_dicts(weights)
        made = make(name)
        fit = best_fit(made.model, states, weights, spec)
        # A file that differs only in its number of classes is a fine-tuned model: make the model with that number.
        classes = head_rows(fit)
        remade = None if classes is None else _with_classes(make, name, classes)
        if remade is not None:
            made, fit = remade, best_fit(remade.model, states, weights, spec)
        notes = [made.note, fill(made.model, fit, states, weights, spec), _note_on_scale(made.model, spec)]
    return LoadedModel(
        made.model.eval(), made.preprocessing, weights is None, spec, tuple(filter(None, notes))
    )


def _with_classes(make: _Maker, name: str, classes: int) -> _Made | None:
    """Return the model with that many classes; None if its builder cannot make it."""
    try:
        return make(name, num_classes=classes)
    except Exception:
        return None


def _note_on_scale(model: nn.Module, spec: str) -> str | None:
    """Return a note for GoogLeNet and Inception: the zoo's weights rescale the input, but a file does not say so."""
    if getattr(model, "transform_input", None) is not False:
        return None
    return (
        f"{spec} takes its inputs as they are; torchvision's own weights for it rescale them first, but a file "
        "does not say so: use --weights DEFAULT for those"
    )


def _torchvision(name: str, download: bool = False, num_classes: int | None = None) -> _Made:
    from torchvision.models import get_model, get_model_builder, get_model_weights, list_models

    if name not in list_models():
        raise BadInputError(f"torchvision has no model {name!r}{_suggestion(name, list_models())}")
    zoo = get_model_weights(name)
    options: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    if "weights_backbone" in inspect.signature(get_model_builder(name)).parameters:
        options["weights_backbone"] = None  # segmentation and detection models would download their backbone
    with _zoo_errors(f"torchvision:{name}", download):
        model = get_model(name, weights="DEFAULT" if download else None, **options)
    return _Made(model, _of_torchvision(zoo.DEFAULT) if len(zoo) else None)


def _of_torchvision(weights: Any) -> Preprocessing | None:
    """Return the preprocessing of torchvision for some weights; None if it leaves pixels in 0..1.

    Of a preset that is not for classifiers, only the mean and standard deviation are used, with an input of
    224 x 224: a segmentation network takes any size.
    """
    try:
        return Preprocessing.from_torchvision(weights)
    except BadInputError:
        preset = weights.transforms()
        mean, std = getattr(preset, "mean", None), getattr(preset, "std", None)
    if mean is None or std is None:  # a detector, which normalises its pictures itself
        return None
    return replace(Preprocessing.default(len(mean), 224), mean=tuple(mean), std=tuple(std))


def _timm(name: str, download: bool = False, num_classes: int | None = None) -> _Made:
    try:
        import timm
    except ImportError as error:
        raise BadInputError("timm is not installed; `pip install 'backlight[timm]'`") from error
    if ":" in name or "/" in name:
        raise BadInputError(
            f"timm:{name} is not part of timm, and Backlight downloads nothing from a hub",
            python="download its weights and load them into timm:NAME",
            command="download its weights and give timm:NAME with --weights FILE",
        )
    architecture, _, tag = name.partition(".")
    if architecture not in timm.list_models():
        raise BadInputError(f"timm has no model {name!r}{_suggestion(architecture, timm.list_models())}")
    tagged = timm.list_models(f"{architecture}.*", pretrained=True)
    if tag and name not in tagged:
        known = ", ".join(full.partition(".")[2] for full in tagged[:6]) or "none"
        raise BadInputError(f"timm's {architecture} has no weights named {tag!r}; it has {known}")
    options: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    with _zoo_errors(f"timm:{name}", download):
        model: Any = timm.create_model(name, pretrained=download, **options)
    return _of_timm(model, name)


def _of_timm(model: Any, name: str) -> _Made:
    """Return a model of timm with its preprocessing, or with the closest one and a note that says so."""
    cfg = model.pretrained_cfg
    try:
        return _Made(model, Preprocessing.from_timm(cfg))
    except BadInputError:
        height, width = cfg["input_size"][1:]
    longer = max(height, width)
    nearest = Preprocessing.from_timm({**cfg, "crop_mode": "center", "input_size": (3, longer, longer)})
    return _Made(
        model,
        replace(nearest, crop=(height, width)),
        f"timm crops the pictures of {name} in a way that is not supported ({cfg['crop_mode']}, {height} x {width}); "
        "Backlight takes their centre instead",
    )


@contextmanager
def _zoo_errors(spec: str, download: bool) -> Iterator[None]:
    """Turn every error of a zoo while it makes a model into one line."""
    try:
        yield
    except Exception as error:
        if download:
            raise WeightsError(
                f"the weights of {spec} cannot be downloaded ({first_line(error)})",
                python="give them as a file",
                command="give them with --weights FILE",
            ) from error
        raise BadInputError(f"{spec} cannot be made without arguments ({first_line(error)})") from error


def _suggestion(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, 3)
    return f"; did you mean {' or '.join(close)}?" if close else ""
