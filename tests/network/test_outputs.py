"""Outputs: the values that a model returns have names, and its containers can be rebuilt from them."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_unflatten

from backlight import capture


class _Found(NamedTuple):
    embedding: Tensor
    logits: Tensor


class _Net(nn.Module):
    def __init__(self, form: str) -> None:
        super().__init__()
        self.conv, self.form = nn.Conv2d(3, 4, 3), form

    def forward(self, x: Tensor) -> Any:
        maps = torch.relu(self.conv(x))
        logits = maps.mean((2, 3))
        return {
            "tensor": logits,
            "dict": {"logits": logits, "aux": (maps, [maps + 1])},
            "named": _Found(maps, logits),
            "list": [maps, None, logits],
        }[self.form]


@pytest.mark.parametrize(
    ("form", "names"),
    [
        ("tensor", ("output",)),
        ("dict", ("logits", "aux.0", "aux.1.0")),
        ("named", ("embedding", "logits")),
        ("list", ("0", "1", "2")),
    ],
)
def test_the_graphs_outputs_are_named_and_make_what_the_model_returns(
    form: str, names: tuple[str, ...]
) -> None:
    torch.manual_seed(0)
    model = _Net(form).eval()
    net = capture(model, (3, 8, 8))
    x = torch.randn(2, 3, 8, 8)
    assert net.output_names == names
    with torch.no_grad():
        returned, expected = tree_unflatten(net.module(x), net.out_spec), model(x)
    assert type(returned) is type(expected)
    torch.testing.assert_close(returned, expected, rtol=0, atol=0)
