"""Copies of models with fewer maps: weights without some of their rows and columns, in modules that say so."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from backlight.errors import RemedyError, WeightsError, first_line
from backlight.studies.diagnosis.remedies.flow import Cuts


@dataclass
class Change:
    """What becomes of a model's weights.

    Attributes:
        values: New values of weights, by their names in the model; set before anything is cut.
        cuts: What is cut out of them.
    """

    values: dict[str, Tensor] = field(default_factory=dict)
    cuts: Cuts = field(default_factory=dict)


def copy_of(model: nn.Module) -> nn.Module:
    """Return a copy of a model that shares nothing with it.

    Raises:
        RemedyError: It cannot be copied.
    """
    try:
        return copy.deepcopy(model)
    except Exception as error:
        raise RemedyError(f"{type(model).__name__} cannot be copied ({first_line(error)})") from error


def stored(model: nn.Module, name: str) -> Tensor | None:
    """Return a parameter or buffer by its name; None where the model has none of that name."""
    path, _, own = name.rpartition(".")
    try:
        found = getattr(model.get_submodule(path), own, None)
    except AttributeError:
        return None
    return found if isinstance(found, Tensor) else None


@torch.no_grad()
def changed(model: nn.Module, change: Change) -> nn.Module:
    """Return a copy of a model with other weights; the model is not changed.

    A bias that a convolution or linear map did not have is added to it.

    Raises:
        RemedyError: A weight is not stored in the model under its name.
    """
    new = copy_of(model)
    for name in dict.fromkeys((*change.values, *change.cuts)):
        old, value = stored(new, name), change.values.get(name)
        if old is not None:
            value = old.detach() if value is None else value.to(old.device, old.dtype)
        if value is None:
            raise RemedyError(f"{type(model).__name__} has no weights {name!r} of its own")
        for dim, lost in change.cuts.get(name, {}).items():
            kept = sorted(set(range(value.shape[dim])) - set(lost))
            value = value.index_select(dim, torch.tensor(kept, device=value.device))
        if old is None:
            _add(new, name, value)
        else:
            _put(new, old, value.clone())
    fit_attributes(new.modules())
    return new


def _add(model: nn.Module, name: str, value: Tensor) -> None:
    path, _, own = name.rpartition(".")
    module: Any = model.get_submodule(path)
    like = next(module.parameters())
    # by another way than registering: the module knows the name already, as one that it does not have
    setattr(module, own, nn.Parameter(value.to(like.device, like.dtype), requires_grad=like.requires_grad))


def _put(model: nn.Module, old: Tensor, value: Tensor) -> None:
    """Put a tensor wherever the model has another, under every name that it has there."""
    new = nn.Parameter(value, requires_grad=old.requires_grad) if isinstance(old, nn.Parameter) else value
    for module in model.modules():
        for held in (module._parameters, module._buffers):
            for name in [name for name, own in held.items() if own is old]:
                held[name] = new  # type: ignore[assignment]


def fit_attributes(modules: Iterable[nn.Module]) -> None:
    """Make what modules of torch.nn say of their widths agree with their weights."""
    for module in modules:
        weight: Any = getattr(module, "weight", None)
        if isinstance(module, nn.modules.conv._ConvNd) and isinstance(weight, Tensor):
            _fit_convolution(module, weight)
        elif isinstance(module, nn.modules.batchnorm._NormBase):
            known = next((t for t in (weight, module.running_mean) if isinstance(t, Tensor)), None)
            module.num_features = module.num_features if known is None else len(known)
        elif isinstance(module, nn.Linear) and isinstance(weight, Tensor):
            module.out_features, module.in_features = weight.shape
        elif isinstance(module, nn.PReLU):
            module.num_parameters = len(weight)


def _fit_convolution(module: nn.modules.conv._ConvNd, weight: Tensor) -> None:
    depthwise = module.groups > 1 and module.groups == module.in_channels
    # (out, in / groups, ...), or transposed (in, out / groups, ...)
    if module.transposed:
        module.groups = weight.shape[0] if depthwise else module.groups
        module.in_channels, module.out_channels = weight.shape[0], weight.shape[1] * module.groups
    else:
        each = module.out_channels // module.in_channels
        module.groups = weight.shape[0] // each if depthwise else module.groups
        module.out_channels, module.in_channels = weight.shape[0], weight.shape[1] * module.groups


@torch.no_grad()
def load_changed(model: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """Return a copy of a model that has the weights, and the widths, that a changed copy of it was saved with.

    Args:
        model: The model as its class makes it.
        state: The `state_dict` of a copy from which maps were deleted.

    Raises:
        WeightsError: The weights belong to another model.

    Example:
        >>> from backlight.studies.diagnosis.remedies import delete_maps
        >>> import backlight
        >>> def make(): return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)).eval()
        >>> model = make()
        >>> found = delete_maps(model, backlight.capture(model, (3, 8, 8)), "1", [2])
        >>> load_changed(make(), found.model.state_dict())[0].out_channels
        3
    """
    new = copy_of(model)
    for name, value in state.items():
        old = stored(new, name)
        if old is None and name.endswith("bias"):
            path = name.rpartition(".")[0]
            known = dict(new.named_modules()).get(path)
            if isinstance(known, (nn.modules.conv._ConvNd, nn.Linear)):
                _add(new, name, value)
        elif old is not None and old.shape != value.shape and old.dim() == value.dim():
            _put(new, old, value.clone())
    fit_attributes(new.modules())
    try:
        new.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsError(
            f"these are not weights of a changed {type(model).__name__} ({first_line(error)}); "
            "give a model of the class that they were saved from"
        ) from error
    return new
