"""A graph made for many inputs gives what the network gives; rectifiers write over what nothing else reads."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from backlight import Network, capture
from backlight.network.cut import cut
from backlight.network.fast import FastNetwork, rectify_in_place, step_images
from backlight.operators.reading import aten
from replicas.compare import same


class _Branching(nn.Module):
    """A norm to fold, a ReLU whose input is read once, and one whose input is read again."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.twice, self.fc = nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.conv(x)))
        y = self.twice(x)
        return self.fc((torch.relu(y) + y).mean((2, 3)))


@pytest.fixture(scope="module")
def net() -> Network:
    """Return a captured network whose batch norm has looked at data."""
    torch.manual_seed(0)
    model = _Branching()
    model.norm.running_mean.normal_()
    model.norm.running_var.uniform_(0.5, 2)
    return capture(model.double(), (3, 9, 8))


@pytest.fixture
def x() -> Tensor:
    """Return two images."""
    return torch.randn(2, 3, 9, 8, generator=torch.Generator().manual_seed(1)).double()


def test_layers_and_the_output_are_those_of_the_network(net: Network, x: Tensor) -> None:
    layers = [net.layer(name) for name in ("twice", "relu", "relu_1")]
    expected = [*net.features(layers)(x), net(x)]
    found = FastNetwork(net, layers, net.outputs[0])(x.clone().requires_grad_())
    assert len(found) == 4
    for own, wanted in zip(found, expected, strict=True):
        same(own, wanted)
        assert not own.requires_grad


def test_a_gradient_goes_through_the_graph_itself(net: Network, x: Tensor) -> None:
    layer = net.layer("relu_1")
    pixels = [x.clone().requires_grad_() for _ in range(2)]
    modules = FastNetwork(net, [layer]).graph, net.features(layer)
    found, expected = (
        torch.autograd.grad(module(own)[0].square().sum(), own)[0]
        for module, own in zip(modules, pixels, strict=True)
    )
    same(found, expected)


def test_only_what_nothing_else_reads_is_written_over(net: Network, x: Tensor) -> None:
    """The first ReLU reads a batch norm, which is none of the operators that surely make a new output."""
    module = cut(net.module, [(net.node("add"), None)])
    (expected,) = module(x)
    rectify_in_place(module)
    assert not module.graph.find_nodes(op="call_function", target=aten.relu_.default)
    folded = FastNetwork(net, [net.layer("add")])
    # Folded, the first ReLU reads the convolution alone; the input of the second is still added to its output.
    assert len(folded.graph.graph.find_nodes(op="call_function", target=aten.relu_.default)) == 1
    assert len(folded.graph.graph.find_nodes(op="call_function", target=aten.relu.default)) == 1
    same(module(x)[0], expected)
    same(folded(x)[0], expected)


class _Shuffles(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        n, c, h, w = x.shape
        return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w).relu()


def test_inputs_of_any_size_go_through_views_of_channels_if_asked() -> None:
    torch.manual_seed(0)
    model = _Shuffles().double()
    net, larger = capture(model, (3, 8, 8)), torch.randn(1, 3, 11, 9, dtype=torch.float64)
    layer = net.layer("relu")
    same(FastNetwork(net, [layer], any_size=True)(larger)[0], model(larger))
    with pytest.raises(RuntimeError, match="shape"):
        FastNetwork(net, [layer])(larger)


def test_few_images_are_run_at_once_on_a_cpu() -> None:
    assert (step_images(torch.device("cpu")), step_images(torch.device("cuda", 1))) == (4, 32)
