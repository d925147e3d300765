"""The filters of a layer are shown where its convolution, and no other, reads the pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from atlas.files import make_network
from backlight import capture
from backlight.atlas.filters import first_filters


@pytest.mark.parametrize(
    ("layer", "is_first"), [("conv1", True), ("relu1", True), ("relu2", False), ("fc", False)]
)
def test_only_layers_of_the_first_convolution_have_filters(layer: str, is_first: bool) -> None:
    net = make_network()
    found = first_filters(net, net.layer(layer))
    if is_first:
        np.testing.assert_array_equal(found, net.module.get_buffer("conv1_weight"))
        assert found.shape == (8, 3, 3, 3)
    else:
        assert found is None


class Joined(nn.Module):
    """Two convolutions of the pixels, added: neither is the filter of the sum."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other, self.sum = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.sum(self.one(x) + self.other(x))


def test_a_sum_of_two_convolutions_has_no_filters_of_its_own() -> None:
    torch.manual_seed(0)
    net = capture(Joined(), (3, 8, 8))
    assert first_filters(net, net.layer("sum")) is None
    assert first_filters(net, net.layer("other")).shape == (4, 3, 3, 3)


def test_filters_that_are_no_pictures_are_not_shown() -> None:
    """A network whose first layer reads the pixels as a vector."""
    net = capture(nn.Sequential(nn.Flatten(), nn.Linear(48, 4), nn.ReLU()), (3, 4, 4))
    assert first_filters(net, net.layer("2")) is None
