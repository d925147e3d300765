"""A network that was pickled, or put on another device, is the network that it was."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch import nn

from backlight import Network, Preprocessing, Unit, capture, project
from conftest import SmallNet
from small_zoo import SMALL_ZOO


def sent(net: Network) -> Network:
    arrived: Network = pickle.loads(pickle.dumps(net))
    return arrived


@pytest.mark.parametrize("name", SMALL_ZOO)
def test_what_arrives_has_the_same_layers_and_weights_and_gives_the_same_bits(name: str) -> None:
    torch.manual_seed(0)
    net = capture(SMALL_ZOO[name]().eval(), (3, 64, 64))
    arrived = sent(net)
    assert arrived.fingerprint() == net.fingerprint()
    assert arrived.layers == net.layers
    assert arrived.coverage() == net.coverage()
    assert [out.name for out in arrived.outputs] == [out.name for out in net.outputs]
    images = torch.rand(3, *net.input_shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(arrived(images), net(images))
    layer = net.default_layers[-1]
    unit = Unit(layer.name, 1, *(size // 2 for size in layer.shape[1:]))
    assert torch.equal(project(arrived, images, [unit] * 3), project(net, images, [unit] * 3))


def test_what_a_model_returns_and_its_names_arrive() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.own = self.alias = nn.Conv2d(3, 4, 3)

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            x = self.own(x)
            return {"maps": x, "mean": x.mean((2, 3))}

    torch.manual_seed(0)
    net = capture(Two(), (3, 8, 8), Preprocessing.default(3, 8))
    arrived = sent(net)
    assert list(arrived(torch.zeros(1, 3, 8, 8))) == ["maps", "mean"]
    assert arrived.output_names == net.output_names
    assert arrived.preprocessing == net.preprocessing
    assert arrived.name == "Two"
    assert arrived.layer("alias") == net.layer("alias")


def test_what_arrives_shares_no_weights_and_takes_any_number_of_images() -> None:
    net = capture(SmallNet(), (3, 32, 32))
    arrived = sent(sent(net))
    for weight in arrived.module.buffers():
        weight.zero_()
    assert all(weight.any() for name, weight in net.module.named_buffers() if name.endswith("weight"))
    for count in (1, 2, 5):
        assert len(arrived(torch.zeros(count, 3, 32, 32))) == count


def shapes(net: Network) -> list[str]:
    values = [node.meta.get("val") for node in net.module.graph.nodes]
    return [f"{value.dtype} {value.shape[1:]}" for value in values if isinstance(value, torch.Tensor)]


class MadeForOne(nn.Module):
    """Has the number of images as a constant, of which capture makes the graph independent."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.conv(x)).view(len(x), 4, 2, -1).transpose(1, 2)


@pytest.mark.parametrize("model", [SmallNet, MadeForOne])
def test_shapes_arrive_whether_their_number_of_images_is_symbolic_or_not(model: type[nn.Module]) -> None:
    torch.manual_seed(0)
    net = capture(model(), (3, 32, 32))
    arrived = sent(net)
    assert shapes(arrived) == shapes(net)
    assert arrived.layers == net.layers
    images = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(arrived(images), net(images))


class WithConstants(nn.Module):
    """Makes a tensor in its forward: the graph holds the device that the model was traced on."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        ramp = torch.arange(6, device=x.device, dtype=x.dtype)
        return torch.relu(self.conv(x)) * ramp


def test_a_network_moves_to_a_device_and_the_model_stays() -> None:
    model = WithConstants()
    net = capture(model, (3, 8, 8))
    moved = net.to("meta")
    assert moved.device.type == "meta"
    assert net.device.type == "cpu"
    assert next(model.parameters()).device.type == "cpu"
    assert project(moved, torch.zeros(2, 3, 8, 8), [Unit("relu", 0, 1, 1)] * 2).device.type == "meta"
    back = net.to("cpu")
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    assert torch.equal(back(images), net(images))
