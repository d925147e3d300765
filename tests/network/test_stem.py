"""The first convolution's way down by phases equals the convolution's own gradient."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from backlight import capture
from backlight.network.cut import cut
from backlight.network.stem import speed_up_stem, strided_convolution

FORMS = [
    ((7, 7), (2, 2), (0, 0)),
    ((7, 7), (2, 2), (3, 3)),
    ((11, 11), (4, 4), (2, 2)),
    ((3, 5), (2, 3), (1, 2)),
    ((2, 2), (3, 3), (0, 0)),  # windows with gaps between them
    ((4, 4), (4, 4), (0, 0)),
    ((3, 3), (1, 2), (0, 1)),
]


@pytest.mark.parametrize(("kernel", "stride", "padding"), FORMS)
@pytest.mark.parametrize("size", [(23, 30), (16, 16)])
def test_gradients_are_those_of_the_convolution(
    kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int], size: tuple[int, int]
) -> None:
    weight, bias = torch.randn(5, 3, *kernel, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    x = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    expected = F.conv2d(x, weight, bias, stride, padding)
    found = strided_convolution(x, weight, bias, stride, padding)
    torch.testing.assert_close(found, expected)
    seed = torch.randn_like(expected)
    gradients = [torch.autograd.grad(out, x, seed)[0] for out in (expected, found)]
    torch.testing.assert_close(gradients[1], gradients[0])


@pytest.mark.parametrize(
    ("layer", "replaced"),
    [
        (nn.Conv2d(3, 4, 3, stride=2), True),
        (nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False), True),
        (nn.Conv2d(3, 4, 3), False),
        (nn.Conv2d(3, 6, 3, stride=2, groups=3), False),
        (nn.Conv2d(3, 4, 3, stride=2, dilation=2), False),
        (nn.Conv2d(8, 4, 3, stride=2), False),
    ],
    ids=str,
)
def test_only_what_has_the_form_is_replaced(layer: nn.Conv2d, replaced: bool) -> None:
    model = nn.Sequential(layer, nn.ReLU(), nn.Conv2d(layer.out_channels, 2, 3, stride=2))
    net = capture(model, (layer.in_channels, 17, 17))
    graph = cut(net.module, [(net.node("2"), None)])
    x = torch.randn(2, layer.in_channels, 17, 17, requires_grad=True)
    (before,) = torch.autograd.grad(graph(x)[0].square().sum(), x)
    speed_up_stem(graph)
    (after,) = torch.autograd.grad(graph(x)[0].square().sum(), x)
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)
    fast = [node for node in graph.graph.nodes if node.target is strided_convolution]
    assert len(fast) == int(replaced)
