"""The zoos: models of torchvision and timm by name, without downloading anything that was not asked for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

from torch import nn

from backlight.errors import BadInputError, WeightsError
from backlight.images import Preprocessing
from backlight.models.checkpoints import read_states
from backlight.models.fitting import best_fit
from backlight.models.loaded import LoadedModel, first_line
from backlight.models.loading import fill
from backlight.models.misfits import head_rows

_Maker = Callable[..., tuple[nn.Module, Preprocessing | None]]


def from_zoo(zoo: str, name: str, weights: str | None) -> LoadedModel:
    """Return a model of a zoo.

    Args:
        zoo: torchvision or timm.
        name: Its name there.
        weights: A file; DEFAULT downloads the zoo's own, and is the only thing that downloads anything; None
            leaves the model's random initialisation.

    Raises:
        BadInputError: The zoo has no such model, or cannot make it without arguments.
        WeightsError: The weights cannot be read or do not fit.
    """
    make = _torchvision if zoo == "torchvision" else _timm
    spec = f"{zoo}:{name}"
    if weights is None or weights == "DEFAULT":
        model, preprocessing = make(name, download=weights == "DEFAULT")
        return LoadedModel(model.eval(), preprocessing, weights is None, spec)
    states = read_states(weights)
    model, preprocessing = make(name)
    fit = best_fit(model, states, weights, spec)
    classes = head_rows(fit)
    if classes is not None and (other := _with_classes(make, name, classes)) is not None:
        model, preprocessing = other
        fit = best_fit(model, states, weights, spec)
    notes = [fill(model, fit, states, weights, spec)]
    if (
        getattr(model, "transform_input", None) is False
    ):  # GoogLeNet and Inception: torchvision's own weights need it
        notes.append(
            f"{spec} takes its inputs as they are; torchvision's own weights for it rescale them first, which a file "
            "does not say: use --weights DEFAULT for those"
        )
    return LoadedModel(model.eval(), preprocessing, False, spec, tuple(note for note in notes if note))


def _with_classes(make: _Maker, name: str, classes: int) -> tuple[nn.Module, Preprocessing | None] | None:
    """Return the model with that many classes; None where its builder cannot."""
    try:
        return make(name, num_classes=classes)
    except Exception:
        return None


def _torchvision(
    name: str, download: bool = False, num_classes: int | None = None
) -> tuple[nn.Module, Preprocessing | None]:
    from torchvision.models import get_model, get_model_builder, get_model_weights, list_models

    if name not in list_models():
        raise BadInputError(f"torchvision has no model {name!r}{_suggestion(name, list_models())}")
    zoo = get_model_weights(name)
    default = zoo.DEFAULT if len(zoo) else None
    try:
        preprocessing = Preprocessing.from_torchvision(default) if default is not None else None
    except BadInputError:  # a detection or video model: its transforms are not those of a classifier
        preprocessing = None
    options: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    if "weights_backbone" in inspect.signature(get_model_builder(name)).parameters:
        options["weights_backbone"] = None  # segmentation and detection: else their backbone is downloaded
    with _failures(f"torchvision:{name}", download):
        return get_model(name, weights="DEFAULT" if download else None, **options), preprocessing


def _timm(
    name: str, download: bool = False, num_classes: int | None = None
) -> tuple[nn.Module, Preprocessing | None]:
    try:
        import timm
    except ImportError as error:
        raise BadInputError("timm is not installed; `pip install 'backlight[timm]'`") from error
    if ":" in name or "/" in name:
        raise BadInputError(
            f"timm:{name} is not in timm itself, and nothing is downloaded from a hub; download its weights and "
            "give timm:NAME with --weights FILE"
        )
    architecture, _, tag = name.partition(".")
    if architecture not in timm.list_models():
        raise BadInputError(f"timm has no model {name!r}{_suggestion(architecture, timm.list_models())}")
    tagged = timm.list_models(f"{architecture}.*", pretrained=True)
    if tag and name not in tagged:
        known = ", ".join(full.partition(".")[2] for full in tagged[:6]) or "none"
        raise BadInputError(f"timm's {architecture} has no weights named {tag!r}; it has {known}")
    options: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    with _failures(f"timm:{name}", download):
        model: Any = timm.create_model(name, pretrained=download, **options)
    return model, Preprocessing.from_timm(model.pretrained_cfg)


@contextmanager
def _failures(spec: str, download: bool) -> Iterator[None]:
    """Turn what fails while a zoo makes a model into one line."""
    try:
        yield
    except Exception as error:
        if download:
            raise WeightsError(
                f"the weights of {spec} cannot be downloaded ({first_line(error)}); give them with --weights FILE"
            ) from error
        raise BadInputError(f"{spec} cannot be made without arguments ({first_line(error)})") from error


def _suggestion(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, 3)
    return f"; did you mean {' or '.join(close)}?" if close else ""
