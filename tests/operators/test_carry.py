"""The building blocks of rules: each has the value of one function and passes the signal of another."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from backlight import Unit, capture, project
from backlight.operators.carry import carry, rectify_signal, written_over
from backlight.operators.ruleset import DECONVNET, RuleSet
from replicas.compare import same, same_bits
from replicas.heads import constant

X, VALUE, SIGNAL = (constant(2, 3, 4, seed=seed) for seed in (1, 2, 3))
BLOCKS = {  # the function of x, its value, and what the signal becomes
    "carry": (lambda x: carry(x, VALUE), VALUE, SIGNAL),
    "rectify_signal": (rectify_signal, X, torch.where(SIGNAL > 0, SIGNAL, 0)),
    "written_over": (lambda x: written_over(torch.zeros(2, 3, 4), x), X.float(), SIGNAL.float()),
    "written_over, stretched": (
        lambda x: written_over(VALUE, x[:, :1]),
        X[:, :1].expand(2, 3, 4),
        F.pad(SIGNAL.sum(1, keepdim=True), (0, 0, 0, 2)),
    ),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_replica(name):
    function, value, expected = BLOCKS[name]
    x = X.clone().requires_grad_()
    out = function(x)
    same_bits(out.detach(), value)
    same(torch.autograd.grad(out, x, SIGNAL.to(out.dtype))[0], expected)


def test_a_carried_value_passes_no_signal_to_what_it_was_made_of():
    """It would be counted twice: once by the rule, and once by the operator's own derivative."""
    x = X.clone().requires_grad_()
    same_bits(torch.autograd.grad(carry(x, x.exp()), x, SIGNAL)[0], SIGNAL)


class Rectified(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = (nn.Conv2d(3, 3, 3, padding=1).double() for _ in range(2))

    def forward(self, x):
        return self.last(F.relu(self.first(x)))


@pytest.mark.parametrize(
    "rules", [DECONVNET, RuleSet("identity", rectifier="identity")], ids=lambda rules: rules.name
)
def test_the_walk_on_windows_passes_them_alike(rules):
    """Two units of one image, of which one lies at the border: filter, rectify (or not), filter."""
    model, image = Rectified(), constant(1, 3, 6, 7, seed=4)
    net = capture(model, image)
    out = model(image).detach()
    for unit in (Unit("last", 0, 0, 0), Unit("last", 2, 3, 4)):
        seed = torch.zeros_like(out)
        seed[0, unit.channel, unit.row, unit.col] = out[0, unit.channel, unit.row, unit.col]
        signal = F.conv_transpose2d(seed, model.last.weight, padding=1)
        if rules is DECONVNET:
            signal = signal.clamp_min(0)
        expected = F.conv_transpose2d(signal, model.first.weight, padding=1)
        same(project(net, image, unit, rules), expected.detach())
