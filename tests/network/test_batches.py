"""Programs and models made for one number of images take any number."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from backlight import Network, capture
from backlight.errors import CaptureError


class _Flattens(nn.Module):
    """Mixes the number of images into several sizes, as windows, tokens and flattening do."""

    def __init__(self, count: Any = lambda x: x.shape[0]) -> None:
        super().__init__()
        self.count, self.conv, self.relu = count, nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()
        self.token, self.head = nn.Parameter(torch.randn(1, 1, 4)), nn.Linear(17 * 4, 5)

    def forward(self, x: Tensor) -> Tensor:
        n = self.count(x)
        maps = self.relu(self.conv(x))
        windows = maps.view(n, 4, 2, 2, 2, 2).permute(0, 2, 4, 3, 5, 1).reshape(-1, 2, 2, 4)
        tokens = torch.cat([self.token.expand(n, -1, -1), windows.reshape(n, 16, 4)], 1) + torch.zeros(
            n, 17, 4
        )
        return self.head(tokens.reshape(n, -1))


def _answers_like(net: Network, model: nn.Module) -> None:
    x = torch.rand(3, 3, 4, 4)
    with torch.no_grad():
        each = torch.cat([model(image[None]) for image in x])
    torch.testing.assert_close(net(x), each)


@pytest.mark.parametrize("n_images", [1, 2])
def test_a_program_for_one_number_of_images_takes_any_number(n_images: int) -> None:
    torch.manual_seed(0)
    model = _Flattens().eval()
    program = torch.export.export(model, (torch.rand(n_images, 3, 4, 4),))
    net = capture(program.module(check_guards=False), (3, 4, 4))
    _answers_like(net, model)
    assert [layer.name for layer in net.default_layers] == ["relu"]


@pytest.mark.parametrize("count", [len, lambda _: 1], ids=["len(x)", "1"])
def test_a_model_that_counts_its_images_takes_any_number(count: Any) -> None:
    torch.manual_seed(0)
    model = _Flattens(count).eval()
    _answers_like(capture(model, (3, 4, 4)), model)


class _Mixes(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (
            x.permute(1, 0, 2, 3).reshape(3, len(x) * 16).t().reshape(len(x), -1)
            + torch.arange(len(x))[:, None]
        )


def test_a_program_that_mixes_images_says_how_to_export_it() -> None:
    program = torch.export.export(_Mixes(), (torch.rand(1, 3, 4, 4),)).module(check_guards=False)
    call = (
        "torch.export.export(model, (torch.rand(2, 3, 4, 4),), dynamic_shapes=({0: torch.export.Dim.AUTO},))"
    )
    with pytest.raises(CaptureError, match=f"takes 1 image at a time; .*: {re.escape(call)}$"):
        capture(program, (3, 4, 4))
