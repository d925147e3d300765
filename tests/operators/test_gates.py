"""Gates: the data-dependent factor of a product, a norm's scale and attention weights are held fixed.

Each case is a gate as its author writes it, and the same as a map that is affine in z, its factor computed from
other pixels x and held fixed. The way down of the first must be the adjoint of the second.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from backlight.network import capture
from backlight.operators.ruleset import DECONVNET, GUIDED, RuleSet
from backlight.projection.rewrite import apply_rules
from replicas.compare import differ, pull, same, same_bits
from replicas.gates import CASES, CONV, DOWN, HEADS, OTHER, SHAPE, SPATIAL, UP

STEPS = {
    "a mask",
    "a condition",
    "masked_fill",
    "gathering what the pixels choose",
    "the signal goes to both",
}
LINEAR_CASES = {name: case for name, case in CASES.items() if case[1] is not None}


class Gates(nn.Module):
    """Every gate on the same pixels, each with a fully connected head of its own."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.used = nn.ModuleList([CONV, OTHER, DOWN, UP, SPATIAL, HEADS])
        x = torch.randn(2, *SHAPE).double()
        widths = [gate(x).flatten(1).shape[1] for gate, _ in CASES.values()]
        self.heads = nn.ModuleList(nn.Linear(width, 5) for width in widths).double()

    def forward(self, x):
        return torch.cat(
            [h(g(x).flatten(1)) for (g, _), h in zip(CASES.values(), self.heads, strict=True)], 1
        )


@pytest.fixture(scope="module")
def model():
    return Gates()


@pytest.fixture(scope="module")
def net(model):
    return capture(model, torch.zeros(1, *SHAPE).double())


PIXELS = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(1)).double()
SEED = torch.randn(2, 5, generator=torch.Generator().manual_seed(2)).double()


def ways_down(net, rules):
    """Return what SEED at each head becomes at the pixels."""
    x = PIXELS.clone().requires_grad_()
    outputs = apply_rules(net, [net.layer(f"heads.{i}") for i in range(len(CASES))], rules)(x)
    return [torch.autograd.grad(out, x, SEED, retain_graph=True)[0] for out in outputs]


@pytest.fixture(scope="module", params=[DECONVNET, GUIDED], ids=lambda rules: rules.name)
def frozen(request, net):
    rules = RuleSet(request.param.name, rectifier=request.param.rectifier, average_pool="transpose")
    return dict(zip(CASES, ways_down(net, rules), strict=True))


@pytest.fixture(scope="module")
def differentiated(net):
    """Rectifiers pass their gradient here: inside a factor they follow their rule too."""
    rules = RuleSet("vjp", rectifier="gradient", average_pool="transpose", gates="vjp")
    return dict(zip(CASES, ways_down(net, rules), strict=True))


def through_head(model, name, value):
    return model.heads[list(CASES).index(name)](value.flatten(1))


@pytest.mark.parametrize("name", [name for name in LINEAR_CASES if "both" not in name])
def test_the_case_is_the_gate(name):
    gate, fixed = CASES[name]
    same(gate(PIXELS), fixed(PIXELS, PIXELS))


@pytest.mark.parametrize("name", LINEAR_CASES)
def test_the_factor_is_held_fixed(model, frozen, name):
    z = PIXELS.clone().requires_grad_()
    value = through_head(model, name, CASES[name][1](PIXELS, z))
    same(frozen[name], torch.autograd.grad(value, z, SEED)[0])


@pytest.mark.parametrize("name", LINEAR_CASES)
def test_the_option_vjp_differentiates_through_the_factor(model, frozen, differentiated, name):
    x = PIXELS.clone().requires_grad_()
    expected = torch.autograd.grad(through_head(model, name, CASES[name][0](x)), x, SEED)[0]
    same(differentiated[name], expected)
    if name not in STEPS:
        differ(frozen[name], expected)


def test_what_was_computed_from_the_other_is_the_factor_even_if_both_are_rectified(model, frozen):
    """h * relu(conv(h)) with h = relu(x): the factor is relu(conv(h)), and the signal is rectified at h."""
    name = "what was computed from the other, before what was rectified"
    signal = (SEED @ model.heads[list(CASES).index(name)].weight).reshape(PIXELS.shape)
    expected = (signal * F.relu(CONV(F.relu(PIXELS)))).clamp_min(0)
    open_only = frozen[name] * (PIXELS > 0)  # guided passes nothing elsewhere
    same(open_only, expected * (PIXELS > 0))


@pytest.mark.parametrize(
    "rules", [DECONVNET, GUIDED, RuleSet("vjp", gates="vjp")], ids=lambda rules: rules.name
)
def test_values_are_the_networks_bit_for_bit(model, net, rules):
    layers = [net.layer(f"heads.{i}") for i in range(len(CASES))]
    values, expected = apply_rules(net, layers, rules)(PIXELS), net.features(layers)(PIXELS)
    for value, own in zip(values, expected, strict=True):
        same_bits(value.detach(), own)
    same(torch.cat(values, 1), model(PIXELS), 1e-14)


class Squashed(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.other = CONV, OTHER

    def forward(self, x):
        return torch.sigmoid(self.other(x)) * self.conv(torch.tanh(x))


def test_what_came_out_of_a_squash_itself_is_the_factor_before_a_linear_map_of_a_squash():
    """*Convention*: by the second test alone both would be factors, and the signal would go to both."""
    signal = torch.randn(2, 4, 5, 6).double()
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
    signal = torch.randn(2, 5, 5, 6, generator=torch.Generator().manual_seed(3)).double()
    x = PIXELS.clone().requires_grad_()
    (expected,) = torch.autograd.grad(replica(x), x, signal)
    rules = RuleSet("guided", rectifier="guided", gates="vjp", squash=squash)
    same(pull(net, "last", PIXELS, signal, rules)[1], expected)
    differ(pull(net, "last", PIXELS, signal, GUIDED)[1], expected)
    x = PIXELS.clone().requires_grad_()
    (plain,) = torch.autograd.grad(SqueezeExcite(F.relu).double()(x), x, signal)
    differ(plain, expected)
