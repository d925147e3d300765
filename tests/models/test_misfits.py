"""Weights that do not fit: which tensors, the likely reason, and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from backlight.errors import WeightsError
from backlight.models import load_weights
from models.weights import STATE, State


class Net(nn.Module):
    def __init__(self, classes: int = 5, depth: int = 1, width: int = 4, inputs: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, width, 3)
        self.layer1 = nn.Sequential(*[nn.Conv2d(width, width, 3, padding=1) for _ in range(depth)])
        self.fc = nn.Linear(width, classes)


def without(part: str) -> State:
    return {k: v for k, v in Net().state_dict().items() if not k.startswith(part)}


MISFITS = {
    "classes": (Net(classes=9).state_dict(), "'fc.weight' is 9x4, the model has 5x4.* has 9 classes, the model has 5"),
    "width": (Net(width=8).state_dict(), "'conv.weight' is 8x3x3x3, the model has 4x3x3x3.* another width"),
    "inputs": (Net(inputs=1).state_dict(), "'conv.weight' is 4x1x3x3.* another number of input channels"),
    "deeper": (Net(depth=2).state_dict(), r"2 tensors \(first .layer1.1.weight.\) are not part of the model.*larger"),
    "headless": (without("fc"), r"2 tensors \(first 'fc.weight'\) are missing: the file has no 'fc'"),
    "shallower": (without("layer1"), r"first 'layer1.0.weight'\) are missing: the file belongs to a smaller model"),
    "another": (STATE, r"are missing; the file has '0.weight', '0.bias'.* another architecture"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISFITS)
def test_the_reason_why_weights_do_not_fit_is_reported(here: Path, name: str) -> None:
    state, said = MISFITS[name]
    torch.save(
        {"state_dict": {f"module.{k}": v for k, v in state.items()}} if name == "width" else state, "w.pt"
    )
    model = Net()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(WeightsError, match=f"'w.pt' does not fit mine.py:Net: .*{said}") as raised:
        load_weights(model, "w.pt", "mine.py:Net")
    assert "\n" not in str(raised.value)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
