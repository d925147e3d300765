"""What every gate satisfies: it is projected back as the map that is affine in z, its factor made from x alone.

Each case is a gate as its author writes it, a function of x, and that map of x and z: with z = x it is the gate, and
its derivative by z is what the signal becomes while the factor is held fixed.
"""

import torch
from torch import nn

from backlight.operators.ruleset import DECONVNET, GUIDED, RuleSet
from replicas.compare import differ, same
from replicas.heads import Cases

SHAPE = (4, 5, 6)
torch.manual_seed(0)
CONV, OTHER = (nn.Conv2d(4, 4, 3, padding=1).double() for _ in range(2))
WEIGHT, BIAS = torch.randn(2, 4).double()
ROWS = torch.randn(6).double()

FROZEN = {
    rules.name: RuleSet(rules.name, rectifier=rules.rectifier, average_pool="transpose")
    for rules in (DECONVNET, GUIDED)
}
# Rectifiers pass their gradient here: inside a factor they follow their rule too.
THROUGH = RuleSet("vjp", rectifier="gradient", average_pool="transpose", gates="vjp")
VALUES = {"deconvnet": DECONVNET, "guided": GUIDED, "vjp": RuleSet("vjp", gates="vjp")}


def tokens(x):
    return x.flatten(2).transpose(1, 2)


def gates(cases, *used):
    """Return the cases of pairs (gate, affine map), captured together."""
    functions = {name: gate for name, (gate, _) in cases.items()}
    return Cases(functions, SHAPE, [CONV, OTHER, *used])


def check_case(cases, name, fixed):
    """Raise unless the affine map is the gate where both read the same pixels."""
    same(cases.functions[name](cases.pixels), fixed(cases.pixels, cases.pixels))


def check_held(cases, name, fixed, rules):
    """Raise unless the signal is passed as with the factor held fixed."""
    z = cases.pixels.clone().requires_grad_()
    value = cases.through_head(name, fixed(cases.pixels, z))
    same(cases.way_down(name, FROZEN[rules]), torch.autograd.grad(value, z, cases.seed)[0])


def check_through(cases, name, rules, is_step=False):
    """Raise unless `gates=vjp` gives the derivative, which differs where the factor is no step."""
    x = cases.pixels.clone().requires_grad_()
    expected = torch.autograd.grad(cases.through_head(name, cases.functions[name](x)), x, cases.seed)[0]
    same(cases.way_down(name, THROUGH), expected)
    if not is_step:
        differ(cases.way_down(name, FROZEN[rules]), expected)
