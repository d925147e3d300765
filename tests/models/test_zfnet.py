"""The networks of the papers: their spatial sizes, and what their layers are. No weights are made."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from backlight.models.zfnet import alexnet_lrn, zfnet

SIZES = {
    "zfnet": (zfnet, 224, [110, 55, 26, 13, 13, 13, 13, 6]),
    "alexnet_lrn": (alexnet_lrn, 227, [55, 27, 27, 13, 13, 13, 13, 6]),
}


@pytest.mark.parametrize("name", SIZES)
def test_spatial_sizes_are_the_papers(name: str) -> None:
    make, side, sizes = SIZES[name]
    with torch.device("meta"):
        x, model = torch.zeros(2, 3, side, side), make(7)
    found = []
    for layer in model.features:
        x = layer(x)
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d):
            found.append(x.shape[2:])
    assert found == [(size, size) for size in sizes]
    assert model.classifier(model.flatten(x)).shape == (2, 7)


@pytest.mark.parametrize("make", [zfnet, alexnet_lrn])
def test_maps_are_counted_as_in_the_papers_and_every_convolution_is_rectified(
    make: Callable[[], nn.Sequential],
) -> None:
    with torch.device("meta"):
        layers = list(make().features)
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [96, 256, 384, 384, 256]
    assert all(isinstance(layers[layers.index(own) + 1], nn.ReLU) for own in convolutions)
    assert sum(isinstance(layer, nn.LocalResponseNorm) for layer in layers) == 2


def test_zfnet_normalises_after_its_pools_and_alexnet_before_them() -> None:
    with torch.device("meta"):
        orders = {make: [type(layer) for layer in make().features] for make in (zfnet, alexnet_lrn)}
    for make, order in orders.items():
        pool, norm = order.index(nn.MaxPool2d), order.index(nn.LocalResponseNorm)
        assert (pool < norm) == (make is zfnet)


def test_the_norm_is_alexnets_formula() -> None:
    """x / (2 + 1e-4 * the sum of x squared over 5 maps) ** 0.75: PyTorch's alpha multiplies their mean."""
    with torch.device("meta"):
        norm = next(layer for layer in zfnet().features if isinstance(layer, nn.LocalResponseNorm))
    x = torch.randn(1, 9, 1, 1, generator=torch.Generator().manual_seed(0)) * 100
    expected = torch.empty(9)
    for i in range(9):
        own = x[0, max(i - 2, 0) : i + 3, 0, 0]
        expected[i] = x[0, i, 0, 0] / (2 + 1e-4 * (own**2).sum()) ** 0.75
    torch.testing.assert_close(norm(x)[0, :, 0, 0], expected)


def test_another_input_size_does_not_fit_the_classifier() -> None:
    with torch.device("meta"), pytest.raises(RuntimeError, match="12544"):
        zfnet(7)(torch.zeros(1, 3, 256, 256))
