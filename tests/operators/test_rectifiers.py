"""Rectifiers: every kind under every rule, by formulas and by the slope that autograd finds for it alone."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from backlight.errors import UnsupportedOperatorError
from backlight.network import OperatorClass, capture
from backlight.operators.ruleset import DECONVNET, GRADIENT, GUIDED, RuleSet
from replicas import deconvnet
from replicas.compare import pull, same, same_bits

PRELU = nn.PReLU().double()
PRELU.weight.data.fill_(0.4)
RRELU = nn.RReLU(0.1, 0.5).eval()
ZERO = torch.tensor(0.0).double()
KINDS = {
    "relu": F.relu,
    "relu in place": lambda x: F.relu_(x.clone()),
    "relu as a tensor's method": lambda x: x.relu(),
    "clamp": lambda x: x.clamp(min=0),
    "clamp from below, elsewhere": lambda x: x.clamp(min=-1.0),
    "clamp_min": lambda x: x.clamp_min(0),
    "clip": lambda x: x.clip(0, 3),
    "maximum with zero": lambda x: torch.maximum(x, ZERO),
    "maximum with zero, zero first": lambda x: torch.maximum(ZERO, x),
    "max with zeros": lambda x: torch.max(x, torch.zeros_like(x)),
    "threshold": lambda x: F.threshold(x, 0.5, -1.0),
    "relu6": F.relu6,
    "hardtanh": lambda x: F.hardtanh(x, 0, 2),
    "leaky_relu": lambda x: F.leaky_relu(x, 0.2),
    "prelu": PRELU,
    "rrelu": RRELU,
    "elu": F.elu,
    "celu": lambda x: F.celu(x, 0.7),
    "selu": F.selu,
    "gelu": F.gelu,
    "gelu, tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "mish": F.mish,
    "hardswish": F.hardswish,
    "softplus": F.softplus,
}
LITERAL = {"leaky_relu": 0.2, "prelu": 0.4, "rrelu": 0.3}
# values below -3, around the dips of the smooth rectifiers, and above every upper clamp
PIXELS = torch.tensor([-4.1, -2.3, -1.4, -0.6, -0.1, 0.2, 0.7, 2.6, 3.5, 7.0]).double().view(1, 1, 2, 5)
SIGNAL = torch.tensor([1.5, -2.0, 3.0, -0.5, 0.1, 1.0, -1.0, 2.0, -3.0, 0.6]).double().view(1, 1, 2, 5)
SIGNALS = (SIGNAL, -SIGNAL)


class Rectifiers(nn.Module):
    """Every kind gives one feature map."""

    def __init__(self):
        super().__init__()
        self.prelu, self.rrelu = PRELU, RRELU

    def forward(self, x):
        return torch.cat([kind(x) for kind in KINDS.values()], 1)


@pytest.fixture(scope="module")
def net():
    return capture(Rectifiers(), PIXELS)


def way_down(net, name, signal, rules):
    whole = torch.zeros(1, len(KINDS), 2, 5).double()
    whole[:, list(KINDS).index(name)] = signal[:, 0]
    return pull(net, "cat", PIXELS, whole, rules)[1]


def slope(name):
    x = PIXELS.clone().requires_grad_()
    return torch.autograd.grad(KINDS[name](x).sum(), x)[0]


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_under_every_rule(net, name):
    for r in SIGNALS:
        same(way_down(net, name, r, DECONVNET), r.clamp_min(0))
        same(way_down(net, name, r, GUIDED), r.clamp_min(0) * slope(name).clamp_min(0))
        same(way_down(net, name, r, RuleSet("frozen gradient", rectifier="gradient")), r * slope(name))
        same(way_down(net, name, r, GRADIENT), r * slope(name))
        same(way_down(net, name, r, RuleSet("identity", rectifier="identity")), r)


REPLICAS = {
    **{kind: deconvnet.Rectifier(kind) for kind in deconvnet.RECTIFIERS},
    **{kind: deconvnet.LeakyRectifier(slope) for kind, slope in LITERAL.items()},
}
RULES = [
    DECONVNET,
    GUIDED,
    GRADIENT,
    RuleSet("identity", rectifier="identity"),
    RuleSet("literal", leaky="literal"),
]


@pytest.mark.parametrize("rules", RULES, ids=lambda rules: rules.name)
@pytest.mark.parametrize("name", REPLICAS)
def test_replica(net, name, rules):
    """By the rectifiers' formulas, values and slopes."""
    layer = REPLICAS[name]
    same(KINDS[name](PIXELS), layer.up(PIXELS.numpy()))
    for r in SIGNALS:
        same(way_down(net, name, r, rules), layer.down(r.numpy(), rules)[0])


@pytest.mark.parametrize("name", KINDS)
def test_the_option_literal_takes_a_leaky_rectifier_of_the_signal_and_nothing_else(net, name):
    rules = RuleSet("literal", leaky="literal")
    for r in SIGNALS:
        same(way_down(net, name, r, rules), torch.where(r > 0, r, LITERAL.get(name, 0) * r))


def test_an_upper_clamp_is_ignored_by_deconvnet_and_closes_guided(net):
    """*Convention*: ReLU6 passes the signal above 6, which keeps D(c a) = c D(a)."""
    ones = torch.ones_like(SIGNAL)
    assert way_down(net, "relu6", ones, DECONVNET)[0, 0, 1, 4] == 1
    assert way_down(net, "relu6", ones, GUIDED)[0, 0, 1, 4] == 0


def test_guided_passes_nothing_where_a_smooth_rectifier_falls(net):
    """*Convention*: max(r, 0) * max(slope, 0), and neither max(r * slope, 0) nor max(r, 0) * slope."""
    assert slope("silu")[0, 0, 0, 1] < 0
    for r in (1.0, -1.0):
        assert way_down(net, "silu", torch.full_like(SIGNAL, r), GUIDED)[0, 0, 0, 1] == 0


@pytest.mark.parametrize("rules", RULES, ids=lambda rules: rules.name)
def test_values_are_the_models_bit_for_bit(net, rules):
    same_bits(
        pull(net, "cat", PIXELS, torch.zeros(1, len(KINDS), 2, 5), rules)[0], Rectifiers()(PIXELS).detach()
    )


def test_all_kinds_are_rectifiers(net):
    named = [node for node in net.analysis.path([net.node("cat")]) if node.op == "call_function"]
    kinds = [net.analysis.classify(node) for node in named]
    assert kinds.count(OperatorClass.RECTIFIER) == len(KINDS)


class Clamps(nn.Module):
    def forward(self, x):
        return x.clamp(-1, 1) + x.clamp(0.5, 2) + F.hardtanh(x) + x.clamp(ZERO, ZERO + 1)


def test_a_clamp_that_does_not_start_at_zero_is_no_rectifier():
    net = capture(Clamps(), PIXELS)
    with pytest.raises(
        UnsupportedOperatorError, match=r"clamp at clamp, clamp_1, clamp_2; hardtanh at hardtanh; choose"
    ):
        pull(net, "add_3", PIXELS, SIGNAL, DECONVNET)
