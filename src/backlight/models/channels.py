"""How many channels a model reads, found by running it on images without values."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from backlight.network.quiet import quiet_torch

_USUAL = (3, 1, 4, 2)
_N_TRIED = 24
_FAR_ENOUGH = 100  # operators: wrong channels stop a model at its first convolution


def input_channels(model: nn.Module, size: tuple[int, int] = (224, 224)) -> int:
    """Return how many channels the images have that a model reads.

    The model runs on fake images of 3, 1, 4, ... channels: nothing is computed, and the model, its buffers and
    the random numbers are left as they were. The first number with which it runs, or gets through its first
    100 operators, is taken; where there is none (the size is wrong, say), the one with which it gets furthest.

    Args:
        model: A module that takes one image batch.
        size: (h, w) of the images in pixels.

    Convention:
        3 wherever 3 does as well as another number: a model that averages its channels gets RGB.

    Example:
        >>> input_channels(nn.Conv2d(1, 8, 3))
        1
    """
    if any(nn.parameter.is_lazy(p) for p in (*model.parameters(), *model.buffers())):
        return _USUAL[0]  # its first run decides
    model = model.module if isinstance(model, nn.DataParallel) else model  # it would look for GPUs
    reached = {}
    for channels in _candidates(model):
        ran, n_operators = _run(model, channels, size)
        if ran:
            return channels
        reached[channels] = n_operators
    return max(reached, key=lambda channels: reached[channels])  # the first of equals


def _candidates(model: nn.Module) -> list[int]:
    """Return the numbers of channels to try: the usual ones, then those that the model's weights speak of."""
    own = [s for p in model.parameters() if p.dim() == 4 for s in p.shape[:2]]
    own += [c for m in model.modules() if isinstance(c := getattr(m, "in_channels", None), int) and c > 0]
    return list(dict.fromkeys([*_USUAL, *own]))[:_N_TRIED]


def _run(model: nn.Module, channels: int, size: tuple[int, int]) -> tuple[bool, int]:
    """Return whether a model runs with so many channels, and how many operators ran."""
    weight = next((p for p in (*model.parameters(), *model.buffers()) if p.is_floating_point()), None)
    like = torch.empty(0) if weight is None else weight
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    count = _Count()
    silent = redirect_stdout(io.StringIO())  # what a forward prints must not mix with what a command prints
    with (
        silent,
        _left_as_it_was(model),
        quiet_torch(),
        torch.compiler.set_stance("force_eager"),
        torch.no_grad(),
    ):
        _fake(model, fake)
        with fake, count:
            images = torch.empty(1, channels, *size, dtype=like.dtype, device=like.device)
            try:
                model(images)
            except _FarEnoughError:
                return True, count.n_operators
            except Exception:
                return False, count.n_operators
    return True, count.n_operators


def _fake(model: nn.Module, fake: FakeTensorMode) -> None:
    """Put fake tensors in the place of all that a model holds: what its forward writes in place is lost with them."""
    for module in model.modules():
        for values in (vars(module), *_containers(vars(module)).values()):
            if isinstance(values, set):
                continue
            keys = list(values) if isinstance(values, dict) else range(len(values))
            for key in keys:
                if isinstance(values[key], Tensor):
                    with suppress(Exception):  # a kind of tensor that cannot be faked runs as it is
                        values[key] = fake.from_tensor(values[key], static_shapes=True)


class _FarEnoughError(BaseException):
    """Stops a run, also where the model catches every `Exception`."""


class _Count(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operators that have run, and stops the run after enough of them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.n_operators = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.n_operators += 1
        if self.n_operators == _FAR_ENOUGH:
            raise _FarEnoughError
        return result


@contextmanager
def _left_as_it_was(model: nn.Module) -> Iterator[None]:
    """Put a model into inference mode, and afterwards put back its attributes, all they contain, and the seeds."""
    saved = [(vars(module), dict(vars(module))) for module in model.modules()]
    flags = [(module, module.training) for module in model.modules()]
    contents = [(held, held.copy()) for _, attributes in saved for held in _containers(attributes).values()]
    seeds = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        for module in model.modules():
            module.training = False
        yield
    finally:
        for now, before in saved:
            now.clear()
            now.update(before)
        for module, flag in flags:
            if module.training != flag:  # a script module keeps it elsewhere
                module.training = flag
        for container, held in contents:
            container.clear()
            container.extend(held) if isinstance(container, list) else container.update(held)
        random.setstate(seeds[0])
        np.random.set_state(seeds[1])
        torch.set_rng_state(seeds[2])


def _containers(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the lists, dicts and sets among the attributes of a module: its parameters and buffers lie in such."""
    return {k: v for k, v in attributes.items() if isinstance(v, (list, dict, set))}


def input_of_graph(graph: torch.fx.Graph) -> tuple[int | None, tuple[int, int] | None]:
    """Return the channels and the size (h, w) that a traced graph was made for; None for what it leaves open."""
    for node in graph.find_nodes(op="placeholder"):
        value = node.meta.get("val")
        if isinstance(value, Tensor) and value.dim() == 4:
            _, channels, height, width = value.shape
            size = (height, width) if isinstance(height, int) and isinstance(width, int) else None
            return channels if isinstance(channels, int) else None, size
    return None, None
