"""Running a stranger's model in Python without leaving a trace in it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, MutableMapping, MutableSequence, MutableSet
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from backlight.network.quiet import quiet_torch


def run_eagerly(model: nn.Module, images: Tensor) -> object:
    """Return what a model's inference gives back for images; the model and the images are left as they were.

    Raises:
        Exception: Whatever the model raises.
    """
    uncompiled = torch.compiler.set_stance("force_eager")
    with inference_of(model), torch.no_grad(), quiet_torch(), uncompiled, torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for module in model.modules():
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    module._buffers[name] = buffer.clone()
        found: object = model(images.clone())
    return found


def arguments_of(model: nn.Module) -> list[inspect.Parameter]:
    """Return the arguments of a model's forward; none where it does not tell."""
    try:
        return list(inspect.signature(model.forward).parameters.values())
    except (TypeError, ValueError):  # a function of C++
        return []


@contextmanager
def inference_of(model: nn.Module) -> Iterator[None]:
    """Put every submodule into inference mode, and afterwards put back all that a forward assigns to its modules.

    That is their modes, their attributes, and the contents of lists, dicts and sets among these (a cache of
    activations, a count of calls). Tensors that are written in place are not put back.
    """
    kept = [(module, dict(vars(module))) for module in model.modules()]
    contents = [(value, value.copy()) for _, own in kept for value in own.values() if _is_container(value)]
    try:
        for module, _ in kept:
            module.training = False
        yield
    finally:
        for container, content in contents:
            _refill(container, content)
        for module, own in kept:
            _refill(vars(module), own)


def _is_container(value: Any) -> bool:
    return type(value).__name__ in ("dict", "OrderedDict", "list", "set", "deque")


def _refill(container: Any, content: Any) -> None:
    if isinstance(container, MutableMapping):
        container.clear()
        container.update(content)
    elif isinstance(container, MutableSet):
        container.clear()
        container |= content
    elif isinstance(container, MutableSequence):
        container.clear()
        container.extend(content)
