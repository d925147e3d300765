"""The number of input channels of a model, found by running it on fake images (shapes without values)."""

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

from backlight.network.eager import containers_of, inference_of
from backlight.network.quiet import quiet_torch

_USUAL = (3, 1, 4, 2)
_MOST_TRIED = 24
_FAR_ENOUGH = 100  # operators; a wrong number of channels stops a model at its first convolution


def input_channels(model: nn.Module, size: tuple[int, int] = (224, 224)) -> int:
    """Return the number of channels of the images that a model takes.

    The model runs on fake images with 3, 1, 4, ... channels: nothing is computed, and the model, its buffers and
    the random state are left as they were. The result is the first number with which the model runs to its end or
    through its first 100 operators; if there is none (because the size is wrong, say), the number with which it gets
    furthest.

    Args:
        model: A module that takes one image batch.
        size: (h, w) of the images in pixels.

    Convention:
        3 if 3 works as well as another number: a model that averages its channels gets RGB.

    Example:
        >>> input_channels(nn.Conv2d(1, 8, 3))
        1
    """
    if any(nn.parameter.is_lazy(p) for p in (*model.parameters(), *model.buffers())):
        return _USUAL[0]  # a lazy module takes its channels from its first input
    model = (
        model.module if isinstance(model, nn.DataParallel) else model
    )  # DataParallel itself would look for GPUs
    reached = {}
    for channels in _numbers_to_try(model):
        ran, n_operators = _try_channels(model, channels, size)
        if ran:
            return channels
        reached[channels] = n_operators
    return max(reached, key=lambda channels: reached[channels])  # the first of equals


def _numbers_to_try(model: nn.Module) -> list[int]:
    """Return the numbers of channels to try: the usual ones, then those that occur in the model's weights."""
    # A weight of a convolution is (out, in, h, w), of a transposed one (in, out, h, w).
    own = [s for p in model.parameters() if p.dim() == 4 for s in p.shape[:2]]
    own += [c for m in model.modules() if isinstance(c := getattr(m, "in_channels", None), int) and c > 0]
    return list(dict.fromkeys([*_USUAL, *own]))[:_MOST_TRIED]


def _try_channels(model: nn.Module, channels: int, size: tuple[int, int]) -> tuple[bool, int]:
    """Return whether a model runs with that many channels, and how many operators ran."""
    weight = next((p for p in (*model.parameters(), *model.buffers()) if p.is_floating_point()), None)
    like = torch.empty(0) if weight is None else weight
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    count = _OperatorCounter()
    silent = redirect_stdout(io.StringIO())  # prints in a forward must not mix with a command's output
    uncompiled = torch.compiler.set_stance("force_eager")
    with silent, inference_of(model), _random_state_kept(), quiet_torch(), uncompiled, torch.no_grad():
        _replace_by_fakes(model, fake)
        with fake, count:
            images = torch.empty(1, channels, *size, dtype=like.dtype, device=like.device)
            try:
                model(images)
            except _FarEnoughError:
                return True, count.n_operators
            except Exception:
                return False, count.n_operators
    return True, count.n_operators


def _replace_by_fakes(model: nn.Module, fake: FakeTensorMode) -> None:
    """Replace all tensors that a model holds by fake ones, so that what its forward writes in place is lost."""
    for module in model.modules():
        for values in (vars(module), *containers_of(vars(module))):
            if isinstance(values, set):
                continue
            keys = list(values) if isinstance(values, dict) else range(len(values))
            for key in keys:
                if isinstance(values[key], Tensor):
                    with suppress(Exception):  # a kind of tensor that cannot be faked is used as it is
                        values[key] = fake.from_tensor(values[key], static_shapes=True)


class _FarEnoughError(BaseException):
    """Stops a run, even if the model catches every `Exception`."""


class _OperatorCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operators that run, and stops the run after enough of them."""

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
def _random_state_kept() -> Iterator[None]:
    """Restore the random state of Python, NumPy and PyTorch afterwards."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def input_of_graph(graph: torch.fx.Graph) -> tuple[int | None, tuple[int, int] | None]:
    """Return the channels and the size (h, w) that a graph was traced for; None for what it leaves open."""
    for node in graph.find_nodes(op="placeholder"):
        value = node.meta.get("val")
        if isinstance(value, Tensor) and value.dim() == 4:
            _, channels, height, width = value.shape
            size = (height, width) if isinstance(height, int) and isinstance(width, int) else None
            return channels if isinstance(channels, int) else None, size
    return None, None
