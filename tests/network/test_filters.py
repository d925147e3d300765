"""The filters of a layer are the weights of the one convolution that makes its maps, where there is one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from atlas.files import make_network
from backlight import capture
from backlight.network.filters import filter_place, filters_of
from conftest import SmallNet


@pytest.mark.parametrize(
    ("layer", "weight", "reads_pixels"),
    [
        ("conv1", "conv1_weight", True),
        ("relu1", "conv1_weight", True),
        ("relu2", "conv2_weight", False),
        ("fc", "fc_weight", False),
    ],
)
def test_filters_are_those_of_the_convolution_behind_a_layer(
    layer: str, weight: str, reads_pixels: bool
) -> None:
    net = make_network()
    found = filters_of(net, layer)
    assert found is not None
    expected = net.module.get_buffer(weight)
    torch.testing.assert_close(found.weights.reshape(expected.shape), expected, rtol=0, atol=0)
    assert (found.weights.dim(), found.groups, found.reads_pixels) == (4, 1, reads_pixels)


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
    assert filters_of(net, "sum") is None
    other = filters_of(net, "other")
    assert other is not None
    assert (other.weights.shape, other.reads_pixels) == ((4, 3, 3, 3), True)


def test_a_vector_of_pixels_makes_no_pictures() -> None:
    """A network whose first layer reads the pixels as a vector."""
    net = capture(nn.Sequential(nn.Flatten(), nn.Linear(48, 4), nn.ReLU()), (3, 4, 4))
    found = filters_of(net, "2")
    assert found is not None
    assert (found.weights.shape, found.reads_pixels) == ((4, 48, 1, 1), False)


class Between(nn.Module):
    """A convolution, and something between it and a rectifier."""

    def __init__(self, between: nn.Module, n_out: int = 6) -> None:
        super().__init__()
        self.first, self.conv = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, n_out, 3, padding=1, groups=2)
        self.between, self.act = between, nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.between(self.conv(self.first(x))))


class Call(nn.Module):
    def __init__(self, function) -> None:  # type: ignore[no-untyped-def]
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.function(x)
        return found


def _gate(x: Tensor) -> Tensor:
    return x * x.mean((2, 3), keepdim=True).sigmoid()


def _shuffle(x: Tensor) -> Tensor:
    return x.view(len(x), 2, 3, *x.shape[2:]).transpose(1, 2).reshape(x.shape)


@pytest.mark.parametrize(
    ("between", "is_kept"),
    [
        (nn.BatchNorm2d(6), True),
        (nn.MaxPool2d(2), True),
        (nn.AvgPool2d(2), True),
        (nn.Sequential(nn.BatchNorm2d(6), nn.LeakyReLU(), nn.Dropout(), nn.MaxPool2d(2)), True),
        (nn.GroupNorm(2, 6), True),
        (nn.Hardswish(), True),
        (nn.PReLU(6), True),
        (Call(lambda x: x * 2 + 1), True),
        (Call(_gate), True),
        (Call(_shuffle), False),
        (nn.ChannelShuffle(2), False),
        (Call(lambda x: x.flip(1)), False),
        (Call(lambda x: x.roll(1, 1)), False),
        (Call(lambda x: x[:, [1, 0, 2, 3, 5, 4]]), False),
        (Call(lambda x: x + x.flip(3)), False),
        (Call(lambda x: x.transpose(1, 2)), False),
        (Call(lambda x: torch.cat([x[:, 3:], x[:, :3]], 1)), False),
    ],
    ids=lambda own: type(own).__name__ if isinstance(own, nn.Module) else None,
)
def test_filters_reach_through_what_keeps_each_channel_in_its_place(
    between: nn.Module, is_kept: bool
) -> None:
    torch.manual_seed(0)
    net = capture(Between(between).eval(), (3, 6, 6))
    found = filters_of(net, "act")
    assert (found is not None) == is_kept
    if found is not None:
        torch.testing.assert_close(found.weights, net.module.get_buffer("conv_weight"), rtol=0, atol=0)
        assert (found.groups, found.reads_pixels) == (2, False)


@pytest.mark.parametrize(
    "conv",
    [
        nn.ConvTranspose2d(6, 6, 3),
        torch.nn.utils.parametrizations.weight_norm(nn.Conv2d(6, 6, 3)),
    ],
)
def test_other_convolutions_have_none(conv: nn.Module) -> None:
    torch.manual_seed(0)
    net = capture(nn.Sequential(nn.Conv2d(3, 6, 3), conv, nn.ReLU()).eval(), (3, 8, 8))
    assert filters_of(net, "2") is None


class Several(nn.Module):
    """Maps of two convolutions, joined; above them a transposed one, and one with computed weights."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.norm, self.two = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(3, 2, 3, padding=1)
        self.up = nn.ConvTranspose2d(6, 4, 2, groups=2)
        self.normed = nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        joined = torch.cat([torch.relu(self.norm(self.one(x))), torch.relu(self.two(x))], 1)
        up = torch.relu(self.up(joined))
        return joined, up, torch.relu(self.normed(up)), up + joined[:, :4, :1, :1]


def test_the_filter_of_a_map_is_that_of_the_operator_that_makes_it() -> None:
    torch.manual_seed(0)
    model = Several().eval()
    net = capture(model, (3, 8, 8))

    def read(layer: str, channel: int) -> np.ndarray:
        place = filter_place(net, layer, channel)
        assert place is not None
        return place.read(net)

    np.testing.assert_array_equal(read("cat", 3), model.one.weight[3].detach())
    np.testing.assert_array_equal(read("cat", 5), model.two.weight[1].detach())
    # groups of a transposed convolution: outputs 0 and 1 are made of inputs 0 to 2, 2 and 3 of 3 to 5
    np.testing.assert_array_equal(read("up", 3), model.up.weight[3:6, 1].detach())
    assert filter_place(net, "relu_3", 0) is None  # its weights are computed
    assert filter_place(net, "add", 0) is None  # a sum of two
    small = capture(SmallNet(), (3, 8, 8))
    place = filter_place(small, "fc", 2)
    assert place is not None
    assert place.read(small).shape == (12,)
