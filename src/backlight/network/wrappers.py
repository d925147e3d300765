"""Wrappers: modules that only pass their input on to a model; that model is captured instead."""

from __future__ import annotations

import inspect

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from backlight.network.eager import arguments_of, run_eagerly


def unwrap(model: nn.Module, example: Tensor) -> nn.Module:
    """Return the model inside DataParallel, torch.compile, AveragedModel and the like; other models unchanged.

    A module counts as a wrapper if its forward takes `*args`, it has only one child, and that child gives the same
    answer. A module that does more than pass its input on is kept whole.

    Args:
        model: Any module.
        example: One image (1, c, h, w), on the model's device.
    """
    while (inner := _wrapped_model(model, example)) is not None:
        model = inner
    return model


def _wrapped_model(model: nn.Module, example: Tensor) -> nn.Module | None:
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        within: nn.Module = model.module
        return within
    compiled = getattr(model, "_orig_mod", None)  # torch._dynamo.OptimizedModule, which is not public
    if isinstance(compiled, nn.Module) and type(model).__module__.startswith("torch."):
        return compiled
    children = list(model.children())
    if len(children) != 1 or [a.kind for a in arguments_of(model)[:1]] != [inspect.Parameter.VAR_POSITIONAL]:
        return None
    return children[0] if _answer_alike(model, children[0], example) else None


def _answer_alike(model: nn.Module, inner: nn.Module, example: Tensor) -> bool:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(example.shape, generator=generator).to(example)
    try:
        ours, theirs = (tree_leaves(run_eagerly(m, noise)) for m in (model, inner))
    except Exception:
        return False
    return len(ours) == len(theirs) and all(map(_values_agree, ours, theirs))


def _values_agree(a: object, b: object) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.shape == b.shape and torch.allclose(a, b, rtol=1e-5, atol=1e-6, equal_nan=True)
    return type(a) is type(b) and a == b
