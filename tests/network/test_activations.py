"""Activations written out by hand are the operators that they equal."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import backlight
from backlight.network.activations import recognise_activations
from backlight.network.capture import export_graph
from backlight.operators.reading import operator_name
from replicas.compare import same


class Activated(nn.Module):
    """A convolution and an activation."""

    def __init__(self, activation):
        super().__init__()
        self.conv, self.activation = nn.Conv2d(3, 4, 3), activation

    def forward(self, x):
        return self.activation(self.conv(x))


def gelu_tanh(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * torch.pow(x, 3))))


HALF = torch.tensor(0.5)
BY_HAND = {
    "relu: times a comparison": (lambda x: x * (x > 0), "relu"),
    "relu: times a comparison as a number": (lambda x: x * (x > 0).float(), "relu"),
    "relu: masked": (lambda x: x.masked_fill(x < 0, 0), "relu"),
    "relu: maximum": (lambda x: torch.max(x, torch.zeros_like(x)), "relu"),
    "relu: chosen": (lambda x: torch.where(x < 0, torch.tensor(0.0), x), "relu"),
    "relu: half of x and its magnitude": (lambda x: (x + x.abs()) / 2, "relu"),
    "relu6: clamped above": (lambda x: torch.relu(x).clamp(max=6.0), "relu6"),
    "hardtanh: clamped above": (lambda x: torch.relu(x).clamp(max=4.0), "hardtanh"),
    "leaky_relu: chosen": (lambda x: torch.where(x > 0, x, 0.1 * x), "leaky_relu"),
    "leaky_relu: maximum": (lambda x: torch.max(x, 0.2 * x), "leaky_relu"),
    "leaky_relu: two rectifiers": (lambda x: torch.relu(x) - 0.25 * torch.relu(-x), "leaky_relu"),
    "elu: chosen": (lambda x: torch.where(x > 0, x, torch.exp(x) - 1), "elu"),
    "hardswish: divided last": (lambda x: x * F.relu6(x + 3.0) / 6.0, "hardswish"),
    "hardswish: divided first": (lambda x: x * (F.relu6(x + 3.0) / 6.0), "hardswish"),
    "hardswish: hard sigmoid": (lambda x: x * F.hardsigmoid(x), "hardswish"),
    "silu: sigmoid": (lambda x: x * torch.sigmoid(x), "silu"),
    "mish: tanh of softplus": (lambda x: x * torch.tanh(F.softplus(x)), "mish"),
    "gelu: erf": (lambda x: x * 0.5 * (1.0 + torch.erf(x / math.sqrt(2.0))), "gelu"),
    "gelu: constants as tensors": (lambda x: x * HALF * (1 + torch.erf(x * HALF.sqrt())), "gelu"),
    "gelu: tanh": (gelu_tanh, "gelu"),
    "gelu: a rounded constant": (
        lambda x: 0.5 * x * (1 + torch.tanh(0.7978845608 * (x + 0.044715 * x * x * x))),
        "gelu",
    ),
    "softplus": (lambda x: torch.log(1 + torch.exp(x)), "softplus"),
}
OTHERS = {
    "another sigmoid": (lambda x: x * torch.sigmoid(1.702 * x), "mul"),
    "a gate from elsewhere": (lambda x: x * torch.sigmoid(x.flip(1)), "mul"),
    "a threshold above zero": (lambda x: torch.where(x > 0.1, x, 0.0), "where"),
    "relu and a little": (lambda x: torch.relu(x) + 1e-6, "add"),
    "the guard of a divisor": (lambda x: x.masked_fill(x < 1e-12, 1e-12), "masked_fill"),
    "sine": (torch.sin, "sin"),
    "the author's own, twice": (lambda x: torch.relu(torch.relu(x)), "relu"),
    "the author's own, copied": (lambda x: F.silu(x).clone(), "clone"),
}


def last_operator(activation):
    graph = export_graph(Activated(activation), torch.zeros(1, 3, 8, 8)).graph
    (output,) = graph.find_nodes(op="output")
    return output.args[0][0]


@pytest.mark.parametrize("name", BY_HAND)
def test_what_is_written_by_hand_is_the_operator_that_it_equals(name):
    activation, operator = BY_HAND[name]
    node = last_operator(activation)
    assert operator_name(node) == operator
    assert node.args[0].name == "conv2d"


@pytest.mark.parametrize("name", OTHERS)
def test_other_functions_are_left_alone(name):
    activation, operator = OTHERS[name]
    assert operator_name(last_operator(activation)) == operator


@pytest.mark.parametrize("name", BY_HAND)
def test_the_network_gives_what_the_model_gives(name):
    model = Activated(BY_HAND[name][0]).double()
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64) * 3
    assert (backlight.capture(model, (3, 8, 8))(x) - model(x)).abs().max() < 1e-6


def test_the_projection_is_that_of_the_activation_by_its_name():
    x = torch.randn(1, 3, 8, 8, dtype=torch.float64)
    by_hand, by_name = (Activated(a).double() for a in (lambda x: x * F.relu6(x + 3.0) / 6.0, F.hardswish))
    by_name.load_state_dict(by_hand.state_dict())
    pictures = []
    for model in (by_hand, by_name):
        net = backlight.capture(model, (3, 8, 8))
        units = backlight.strongest(net, x, net.default_layers[-1].name, channel=1)
        pictures.append(backlight.project(net, x, units))
    same(*pictures)


def test_a_weight_is_no_constant_of_an_activation():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.slope = nn.Conv2d(3, 4, 3), nn.Parameter(torch.tensor(0.1))

        def forward(self, x):
            x = self.conv(x)
            return torch.where(x > 0, x, self.slope * x)

    model = Scaled()
    net = backlight.capture(model, (3, 8, 8))
    x = torch.randn(1, 3, 8, 8)
    with torch.no_grad():
        model.slope.fill_(0.5)
    same(net(x), model(x))


def test_what_stands_between_stays_a_layer():
    net = backlight.capture(Activated(lambda x: x * F.relu6(x + 3.0) / 6.0), (3, 8, 8))
    assert [layer.name for layer in net.layers] == ["conv", "add", "relu6", "mul", "div"]
    assert [layer.name for layer in net.default_layers] == ["div"]


def test_a_second_look_changes_nothing():
    graph = export_graph(Activated(gelu_tanh), torch.zeros(1, 3, 8, 8)).graph
    before = str(graph)
    recognise_activations(graph)
    assert str(graph) == before


ACTIVATIONS = (
    *(
        "ReLU",
        "ReLU6",
        "LeakyReLU",
        "PReLU",
        "RReLU",
        "ELU",
        "CELU",
        "SELU",
        "GELU",
        "SiLU",
        "Mish",
        "Hardswish",
    ),
    *("Softplus", "Hardtanh", "Hardsigmoid", "Sigmoid", "Tanh", "LogSigmoid", "Softsign", "Tanhshrink"),
    *("Softshrink", "Hardshrink"),
)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_layers_above_an_activation_are_found_with_their_fields(name):
    activation = getattr(nn, name)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), activation(), nn.Conv2d(4, 5, 3), activation())
    layers = {layer.name: layer for layer in backlight.capture(model, (3, 8, 8)).layers}
    assert {"0", "1", "2", "3"} <= set(layers)
    fields = [layers[n].receptive_field for n in "0123"]
    assert None not in fields
    assert fields[0] == fields[1] != fields[2] == fields[3]
