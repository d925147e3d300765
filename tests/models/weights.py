"""What the tests of weights files share: a small model, its weights, and what trainers save beside them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

State = dict[str, Any]


def small() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 5))


TORCH_RANDOM = torch.Generator().manual_seed(3)
STATE: dict[str, Tensor] = {
    k: torch.randn(v.shape, generator=TORCH_RANDOM) if v.is_floating_point() else v
    for k, v in small().state_dict().items()
}
OTHER = {k: v + 1 for k, v in STATE.items()}


def prefixed(prefix: str, state: State = STATE) -> State:
    return {prefix + k: v for k, v in state.items()}


class Settings:
    """Hyper-parameters of a trainer, whose state would be set by code."""

    def __init__(self) -> None:
        self.rate = 0.1

    def __setstate__(self, state: object) -> None:
        Path("ran").touch()


class Runs:
    """Runs a program when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch ran",)


def holds(model: nn.Module, state: State = STATE) -> bool:
    return all(torch.equal(v, state[k].to(v.dtype)) for k, v in model.state_dict().items())
