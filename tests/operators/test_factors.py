"""Factors: which of two multiplied signals is held fixed, one test before the other, and what is inside a factor."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from backlight.network import capture
from backlight.operators.ruleset import GUIDED, RuleSet
from replicas.compare import differ, pull, same
from replicas.gates import CONV, FROZEN, OTHER, SHAPE, VALUES, check_case, check_held, check_through, gates
from replicas.heads import check_values, constant


def one_row_over_all(x):
    row = CONV(x[:, :, :1])
    return row * OTHER(row).repeat(1, 1, 5, 1)


def rectified_twice(x):
    h = F.relu(x)
    return h * F.relu(CONV(h))


GATES = {  # *Convention*: the tests in their order; each case has what the next test would choose too
    "what came out of a squash before what is broadcast": (
        lambda x: CONV(x).mean((2, 3), keepdim=True) * torch.tanh(OTHER(x)),
        lambda x, z: CONV(z).mean((2, 3), keepdim=True) * torch.tanh(OTHER(x)),
    ),
    "what is broadcast over the other, before what it was computed from": (
        one_row_over_all,
        lambda x, z: CONV(x[:, :, :1]) * OTHER(CONV(z[:, :, :1])).repeat(1, 1, 5, 1),
    ),
    "what came out of a rectifier": (
        lambda x: CONV(x) * F.relu(OTHER(x)),
        lambda x, z: CONV(z) * F.relu(OTHER(x)),
    ),
    "the signal goes to both": (
        lambda x: CONV(x) * OTHER(x),
        lambda x, z: CONV(z) * OTHER(x) + CONV(x) * OTHER(z),
    ),
}
RECTIFIED = "what was computed from the other, before what was rectified"
HELD = gates(GATES | {RECTIFIED: (rectified_twice, None)})


@pytest.mark.parametrize("name", [name for name in GATES if "both" not in name])
def test_the_case_is_the_gate(name):
    check_case(HELD, name, GATES[name][1])


@pytest.mark.parametrize("rules", FROZEN)
@pytest.mark.parametrize("name", GATES)
def test_the_factor_is_held_fixed(name, rules):
    check_held(HELD, name, GATES[name][1], rules)


@pytest.mark.parametrize("rules", FROZEN)
@pytest.mark.parametrize("name", GATES)
def test_the_option_vjp_differentiates_through_the_factor(name, rules):
    check_through(HELD, name, rules, is_step="both" in name)


@pytest.mark.parametrize("rules", FROZEN)
def test_what_was_computed_from_the_other_is_the_factor_even_if_both_are_rectified(rules):
    """h * relu(conv(h)) with h = relu(x): the factor is relu(conv(h)), and the signal is rectified at h."""
    expected = (HELD.signal(RECTIFIED) * F.relu(CONV(F.relu(HELD.pixels)))).clamp_min(0)
    is_open = HELD.pixels > 0  # guided passes nothing elsewhere
    same(HELD.way_down(RECTIFIED, FROZEN[rules]) * is_open, expected * is_open)


@pytest.mark.parametrize("rules", VALUES)
def test_values_are_the_networks_bit_for_bit(rules):
    check_values(HELD, VALUES[rules])


class Squashed(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.other = CONV, OTHER

    def forward(self, x):
        return torch.sigmoid(self.other(x)) * self.conv(torch.tanh(x))


PIXELS = constant(2, *SHAPE, seed=1)


def test_what_came_out_of_a_squash_itself_is_the_factor_before_a_linear_map_of_a_squash():
    """*Convention*: by the second test alone both would be factors, and the signal would go to both."""
    signal = constant(2, *SHAPE, seed=4)
    expected = F.conv_transpose2d(signal * torch.sigmoid(OTHER(PIXELS)), CONV.weight, padding=1)
    net = capture(Squashed(), PIXELS)
    same(pull(net, "mul", PIXELS, signal, RuleSet("passing", squash="identity"))[1], expected)


class Guided(torch.autograd.Function):
    """A ReLU of guided backpropagation, written from the paper: a signal passes where it and the unit are positive."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp_min(0)

    @staticmethod
    def backward(ctx, signal):
        return signal.clamp_min(0) * (ctx.saved_tensors[0] > 0)


class SqueezeExcite(nn.Module):
    """A block as its authors write it; its rectifiers are whatever function is given."""

    def __init__(self, rectify):
        super().__init__()
        torch.manual_seed(5)
        self.rectify = rectify
        self.first, self.last = nn.Conv2d(4, 6, 3, padding=1), nn.Conv2d(6, 5, 3, padding=1)
        self.squeeze, self.excite = nn.Conv2d(6, 3, 1), nn.Conv2d(3, 6, 1)

    def factor(self, x):
        squeezed = self.rectify(self.squeeze(x.mean((2, 3), keepdim=True)) + 0.5)
        return torch.sigmoid(self.excite(squeezed)) / (x - 0.1).norm(dim=1, keepdim=True).clamp_min(1e-6)

    def forward(self, x):
        x = self.rectify(self.first(x))
        return self.last(x * self.factor(x))


@pytest.mark.parametrize("squash", ["error", "identity"])
def test_with_vjp_the_rectifiers_inside_a_factor_follow_their_rule_too(squash):
    """*Convention*: and nothing else there does: averages, squashes and bounds of a divisor have their derivative."""
    net, replica = capture(SqueezeExcite(F.relu).double(), PIXELS), SqueezeExcite(Guided.apply).double()
    signal = constant(2, 5, 5, 6, seed=3)
    x = PIXELS.clone().requires_grad_()
    (expected,) = torch.autograd.grad(replica(x), x, signal)
    rules = RuleSet("guided", rectifier="guided", gates="vjp", squash=squash)
    same(pull(net, "last", PIXELS, signal, rules)[1], expected)
    differ(pull(net, "last", PIXELS, signal, GUIDED)[1], expected)
    x = PIXELS.clone().requires_grad_()
    (plain,) = torch.autograd.grad(SqueezeExcite(F.relu).double()(x), x, signal)
    differ(plain, expected)
