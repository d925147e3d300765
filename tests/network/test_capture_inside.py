"""What is inside is captured: the model in a wrapper, and what runs under no_grad, inference_mode or autocast."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from backlight import Unit, capture, project


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


class _Trunk(nn.Module):
    def __init__(self, context: Callable[[], AbstractContextManager[object]]) -> None:
        super().__init__()
        self.context, self.conv, self.norm = context, nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.block, self.head = nn.Sequential(nn.Conv2d(4, 4, 3), nn.LeakyReLU()), nn.Conv2d(4, 5, 3)

    def forward(self, x: Tensor) -> Tensor:
        with self.context():
            x = F.relu(self.norm(self.conv(x)))
            x = self.block(x) + 1
        return F.relu(self.head(x.float()))


CONTEXTS = {
    "no_grad": torch.no_grad,
    "enable_grad": torch.enable_grad,
    "set_grad_enabled": lambda: torch.set_grad_enabled(False),
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu"),
    "no_autocast": lambda: torch.autocast("cpu", enabled=False),
}


@pytest.mark.parametrize("context", CONTEXTS)
def test_names_and_answers_under_a_context_are_those_without_it(context: str) -> None:
    torch.manual_seed(0)
    model = _Trunk(nullcontext).eval()
    plain = capture(model, (3, 12, 12))
    model.context = CONTEXTS[context]  # type: ignore[assignment]
    net = capture(model, (3, 12, 12))
    names = [layer.name for layer in net.layers if layer.operator != "_to_copy"]
    assert names == [layer.name for layer in plain.layers]
    assert [layer.name for layer in net.default_layers] == ["relu", "block.1", "relu_1"]
    x, unit = torch.rand(1, 3, 12, 12), [Unit("relu_1", 0, 1, 1)]
    with torch.no_grad():
        torch.testing.assert_close(net(x), model(x), rtol=0, atol=0)
    tolerance = 0.05 if context == "autocast" else 1e-6  # bfloat16 has eight bits
    torch.testing.assert_close(project(net, x, unit), project(plain, x, unit), rtol=tolerance, atol=tolerance)


class _InferenceDecorated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    @torch.inference_mode()
    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv(x))


def test_inference_mode_works_as_ever_after_a_capture() -> None:
    model = _InferenceDecorated()
    assert [layer.name for layer in capture(model, (3, 8, 8)).layers] == ["conv", "relu"]
    assert model(torch.rand(1, 3, 8, 8)).is_inference()
