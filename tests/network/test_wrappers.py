"""Of a model in a wrapper the model inside is captured."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from backlight import capture


class _PassesOn(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.model(*args, **kwargs)


class _Doubles(_PassesOn):
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return 2 * super().forward(*args, **kwargs)


def _compiled_in_place(model: nn.Module) -> nn.Module:
    model.compile(backend="eager")
    return model


WRAPPERS = {
    "data_parallel": nn.DataParallel,
    "compiled": lambda model: torch.compile(model, backend="eager"),
    "compiled_in_place": _compiled_in_place,
    "averaged": torch.optim.swa_utils.AveragedModel,
    "own": _PassesOn,
    "twice": lambda model: _PassesOn(nn.DataParallel(torch.compile(model, backend="eager"))),
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_wrapped_model_is_captured_as_the_model_inside(wrapper: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Dropout(0.5))
    x = torch.rand(2, 3, 8, 8)
    with torch.no_grad():
        expected = model.eval()(x)
    net = capture(WRAPPERS[wrapper](model.train()), (3, 8, 8))  # type: ignore[operator]
    assert torch.equal(net(x), expected)
    assert net.name == "Sequential"
    assert [layer.name for layer in net.layers if layer.operator != "clone"] == ["0", "1"]


def test_a_wrapper_that_does_more_than_pass_on_is_kept_whole() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    net = capture(_Doubles(model), (3, 8, 8))
    assert [layer.name for layer in net.layers] == ["model.0", "model.1", "mul"]
    x = torch.rand(2, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(net(x), 2 * model(x))
