"""What has no rule is refused by name and place, never projected by a silent gradient."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from backlight.errors import UnsupportedOperatorError
from backlight.network import capture
from backlight.operators.ruleset import DECONVNET, GRADIENT, GUIDED, RuleSet, parse_rules
from backlight.projection import Unit, project
from backlight.projection.rewrite import apply_rules
from replicas.compare import pull, same

IMAGE = torch.randn(1, 4, 5, 6, generator=torch.Generator().manual_seed(0)).double()
SIGNAL = torch.randn(1, 4, 5, 6, generator=torch.Generator().manual_seed(1)).double()


class Inner(nn.Module):
    def forward(self, x):
        return torch.cumprod(x, 2) + x.sin()


class Odd(nn.Module):
    """Unknown operators on the path, in submodules and outside, above a layer that has rules all the way."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.inner, self.again = nn.Conv2d(4, 4, 1).double(), Inner(), Inner()

    def forward(self, x):
        x = F.relu(self.conv(x))
        x = self.again(self.inner(x))
        return F.softmax(x, 1) + 2 / (x + 9)


@pytest.fixture(scope="module")
def odd():
    model = Odd()
    return model, capture(model, IMAGE)


def test_every_unknown_operator_is_named_with_all_its_places(odd):
    net = odd[1]
    message = (
        r"^no deconvnet rule for cumprod at inner\.cumprod, again\.cumprod; sin at inner\.sin, again\.sin; "
        r"softmax at softmax; reciprocal at \S+; choose a layer below, or rules=GRADIENT, which needs no rule$"
    )
    with pytest.raises(UnsupportedOperatorError, match=message):
        apply_rules(net, [net.layer("add_1")], DECONVNET)


def test_only_the_operators_below_the_layer_count(odd):
    net = odd[1]
    apply_rules(net, [net.layer("relu")], DECONVNET)
    with pytest.raises(
        UnsupportedOperatorError, match=r"^no guided rule for cumprod at inner\.cumprod; sin at inner\.sin; "
    ):
        apply_rules(net, [net.layer("inner.add")], GUIDED)


def test_the_exact_gradient_needs_no_rule_and_a_gradient_with_another_option_does(odd):
    model, net = odd
    x = IMAGE.clone().requires_grad_()
    same(pull(net, "add_1", IMAGE, SIGNAL, GRADIENT)[1], torch.autograd.grad(model(x), x, SIGNAL)[0])
    with pytest.raises(UnsupportedOperatorError, match=r"^no gradient rule for cumprod at "):
        apply_rules(net, [net.layer("add_1")], RuleSet("gradient", "gradient", "assign-last", "transpose"))


class Elsewhere(nn.Module):
    """The same unknown operators, but only in the factor of a gate, and in a branch that is not asked for."""

    def __init__(self):
        super().__init__()
        self.conv, self.inner = nn.Conv2d(4, 4, 1).double(), Inner()

    def forward(self, x):
        gated = self.conv(x) * torch.sigmoid(self.inner(x))
        return gated, self.inner(gated)


def test_an_unknown_operator_off_the_path_is_no_obstacle():
    model = Elsewhere()
    net = capture(model, IMAGE)
    factor = torch.sigmoid(model.inner(IMAGE))
    expected = F.conv_transpose2d(SIGNAL * factor, model.conv.weight)
    same(pull(net, "mul", IMAGE, SIGNAL, DECONVNET)[1], expected)


class Refused(nn.Module):
    """Operators that look like something with a rule, and are not."""

    def forward(self, x):
        return torch.div(x, 2, rounding_mode="floor") + x.pow(-2) + x.std(1, keepdim=True) + x.erf()


def test_look_alikes_are_refused():
    net = capture(Refused(), IMAGE)
    message = r"rule for div at div; pow at pow; std at std; erf at erf; choose"
    with pytest.raises(UnsupportedOperatorError, match=message):
        apply_rules(net, [net.layers[-1]], DECONVNET)


SQUASHES = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softmax": lambda x: x.softmax(1),
    "hardsigmoid": F.hardsigmoid,
}


class Squashed(nn.Module):
    def forward(self, x):
        return torch.cat([squash(x) for squash in SQUASHES.values()], 1)


@pytest.fixture(scope="module")
def squashed():
    return capture(Squashed(), IMAGE)


def test_a_squash_on_the_path_is_refused_with_the_advice_to_let_it_pass(squashed):
    message = (
        r"^no deconvnet rule for sigmoid at sigmoid; tanh at tanh; softmax at softmax; hardsigmoid at hardsigmoid; "
        r"choose a layer below, or rules=backlight.parse_rules\(.deconvnet,squash=identity.\)$"
    )
    with pytest.raises(UnsupportedOperatorError, match=message):
        apply_rules(squashed, [squashed.layer("cat")], DECONVNET)


@pytest.mark.parametrize("text", ["deconvnet", "guided,unpool=assign-last"])
def test_the_advice_works_and_keeps_the_other_options(squashed, text):
    with pytest.raises(UnsupportedOperatorError) as refused:
        apply_rules(squashed, [squashed.layer("cat")], parse_rules(text))
    advised = refused.value.for_command_line.partition("--rules ")[2].partition(" ")[0]
    assert advised == f"{text},squash=identity"
    apply_rules(squashed, [squashed.layer("cat")], parse_rules(advised))


@pytest.mark.parametrize(
    "function", [torch.sin, torch.sign, torch.log1p, lambda x: x.clamp(-1, 1), F.hardtanh]
)
def test_what_no_rule_covers_is_refused_and_the_gradient_that_is_advised_works(function):
    class Net(nn.Module):
        def forward(self, x):
            return 2 * function(x.abs())

    net = capture(Net(), IMAGE)
    with pytest.raises(UnsupportedOperatorError, match="or rules=GRADIENT, which needs no rule"):
        apply_rules(net, [net.layer("mul")], RuleSet("passing", squash="identity"))
    x = IMAGE.clone().requires_grad_()
    (slope,) = torch.autograd.grad(2 * function(x.abs()), x, SIGNAL)
    found = project(net, IMAGE, Unit("mul", 1, 2, 3), GRADIENT, seed=1)
    np.testing.assert_allclose(found[0, 1, 2, 3], (slope / SIGNAL)[0, 1, 2, 3], rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", SQUASHES)
def test_a_squash_passes_the_signal_or_its_gradient_if_asked(squashed, name):
    whole = torch.zeros(1, 16, 5, 6).double()
    first = 4 * list(SQUASHES).index(name)
    whole[:, first : first + 4] = SIGNAL
    x = IMAGE.clone().requires_grad_()
    slope = torch.autograd.grad(SQUASHES[name](x), x, SIGNAL)[0]
    same(pull(squashed, "cat", IMAGE, whole, RuleSet("identity", squash="identity"))[1], SIGNAL)
    same(pull(squashed, "cat", IMAGE, whole, RuleSet("gradient", squash="gradient"))[1], slope)
