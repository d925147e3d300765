"""Tracing goes into no_grad, inference_mode and autocast, and keeps the names there."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from backlight import Unit, capture, project


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
