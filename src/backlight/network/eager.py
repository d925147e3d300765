"""Running a model in Python and leaving it exactly as it was."""

from __future__ import annotations

import inspect
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterator, Mapping, MutableMapping, MutableSequence, MutableSet
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from backlight.network.quiet import quiet_torch

_CONTAINERS = (dict, OrderedDict, defaultdict, Counter, list, set, deque)


def run_eagerly(model: nn.Module, images: Tensor) -> object:
    """Return what a model returns for images in inference; the model and the images are not changed.

    Raises:
        Exception: Any error of the model itself.
    """
    uncompiled = torch.compiler.set_stance("force_eager")
    with inference_of(model), torch.no_grad(), quiet_torch(), uncompiled, torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        # Work on copies of the buffers, which a forward may write in place; `inference_of` puts the originals back.
        for module in model.modules():
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    module._buffers[name] = buffer.clone()
        found: object = model(images.clone())
    return found


def arguments_of(model: nn.Module) -> list[inspect.Parameter]:
    """Return the parameters of a model's forward; none if it has no signature."""
    try:
        return list(inspect.signature(model.forward).parameters.values())
    except (TypeError, ValueError):  # implemented in C++
        return []


@contextmanager
def inference_of(model: nn.Module) -> Iterator[None]:
    """Put every submodule into inference mode, and afterwards restore everything that a forward assigns to modules.

    That is their mode, their attributes, and the contents of lists, dicts and sets among these (a cache of
    activations, a count of calls). Tensors that are written in place are not restored.
    """
    modes = [(module, module.training) for module in model.modules()]
    kept = [(module, dict(vars(module))) for module, _ in modes]
    contents = [(held, held.copy()) for _, own in kept for held in containers_of(own)]
    try:
        for module, _ in modes:
            module.training = False
        yield
    finally:
        for container, content in contents:
            _refill(container, content)
        for module, own in kept:
            _refill(vars(module), own)
        for module, training in modes:
            if module.training != training:  # a ScriptModule does not keep its mode among its attributes
                module.training = training


def containers_of(attributes: Mapping[str, Any]) -> list[Any]:
    """Return the lists, dicts and sets among a module's attributes; its parameters and buffers are in two of them."""
    return [held for held in attributes.values() if type(held) in _CONTAINERS]


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
