"""Networks with other weights: which operators have some below a layer, and what a replacement changes."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from backlight import Network, capture
from backlight.network.weights import Weighted, random_weights, weighted_below, with_weights
from replicas.compare import differ, same


class _Net(nn.Module):
    """Two convolutions on the way to `relu`, one beside it, a map by a computed weight, and a linear map above."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, bias=False), nn.Conv2d(4, 4, 3)
        self.beside, self.fc = nn.Conv2d(3, 4, 5), nn.Linear(4, 5)
        self.factor = nn.Parameter(torch.ones(4, 4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(self.first(x))
        y = torch.relu(nn.functional.conv2d(y, self.factor * 2))
        return self.fc((y + self.beside(x)).mean((2, 3)))


@pytest.fixture(scope="module")
def model() -> _Net:
    """Return a model with fixed random weights."""
    torch.manual_seed(0)
    return _Net().double()


@pytest.fixture(scope="module")
def net(model: _Net) -> Network:
    """Return the model captured."""
    return capture(model, (3, 9, 9))


@pytest.fixture
def x() -> Tensor:
    """Return two images."""
    return torch.randn(2, 3, 9, 9, generator=torch.Generator().manual_seed(1)).double()


def named(net: Network, layer: str) -> dict[str, Weighted]:
    return {which.name: which for which in weighted_below(net, net.layer(layer))}


def test_operators_with_weights_of_their_own_are_found_between_the_pixels_and_a_layer(net: Network) -> None:
    assert list(named(net, "first")) == ["first"]
    below = named(net, "relu")
    assert list(below) == ["first", "second"]
    assert below["first"].bias is None
    assert net.module.get_buffer(str(below["second"].bias)).shape == (4,)
    assert sorted(named(net, "fc")) == ["beside", "fc", "first", "second"]


def test_a_replacement_changes_what_is_above_it_and_the_network_is_left_as_it_was(
    model: _Net, net: Network, x: Tensor
) -> None:
    before, fingerprint = net(x), net.fingerprint()
    which, weight = named(net, "relu")["second"], torch.randn(4, 4, 3, 3, dtype=torch.float64)
    other = with_weights(net, {which.weight: weight.float()})  # of another type: it gets the network's
    assert (net.fingerprint(), other.dtype) == (fingerprint, torch.float64)
    assert other.fingerprint() != fingerprint
    same(other.features("first")(x)[0], net.features("first")(x)[0])
    changed = copy.deepcopy(model)
    changed.second.weight = nn.Parameter(weight.float().double())
    same(other(x), changed(x))
    same(net(x), before)
    differ(other(x), before)
    kept = {name: own.data_ptr() for name, own in net.module.named_buffers()}
    replaced = [name for name, own in other.module.named_buffers() if own.data_ptr() != kept[name]]
    assert replaced == [which.weight]


def test_a_network_with_other_weights_knows_the_same_layers(net: Network) -> None:
    other = with_weights(net, {})
    assert other.layers == net.layers
    assert other.output_names == net.output_names
    assert (other.name, other.input_shape) == (net.name, net.input_shape)
    assert other.fingerprint() == net.fingerprint()


def test_random_weights_spread_as_the_operators_own_and_the_bias_is_zero(net: Network) -> None:
    which = named(net, "relu")["second"]
    first, again, other = (random_weights(net, which, np.random.default_rng(seed)) for seed in (7, 7, 8))
    assert set(first) == {which.weight, which.bias}
    own = net.module.get_buffer(which.weight)
    normal = torch.from_numpy(np.random.default_rng(7).standard_normal((4, 4, 3, 3)))
    same(first[which.weight], normal * own.numpy().std())
    assert not first[str(which.bias)].any()
    assert torch.equal(first[which.weight], again[which.weight])
    assert not torch.equal(first[which.weight], other[which.weight])
    assert set(random_weights(net, named(net, "relu")["first"], np.random.default_rng(0))) == {
        named(net, "relu")["first"].weight
    }


def test_a_weight_that_the_network_has_not_is_refused(net: Network) -> None:
    with pytest.raises(AttributeError, match="third_weight"):
        with_weights(net, {"third_weight": torch.zeros(2)})
