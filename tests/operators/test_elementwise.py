"""Elementwise linear operators: the signal times what each operand is multiplied by; copies and `detach` pass it."""

import pytest
import torch
from torch import nn

from backlight.operators.ruleset import DECONVNET
from replicas.heads import Cases, check_replica, constant
from replicas.linear import RULES, check_adjoint, check_classes, other


def with_stopped_gradient(x):
    return x.detach() * 2 + x.flip(2)


LAYERS = {
    "dropout": nn.Sequential(nn.Dropout(0.5), nn.Dropout2d(0.5)),
    "add and sub": lambda x: x + 3 - other(x) + constant(7),
    "add with a factor, sub of what is broadcast": lambda x: (
        torch.add(x, other(x), alpha=3) - x[:, :1, :, :1]
    ),
    "rsub, neg, scale": lambda x: (1 - x) * constant(4, 1, 1) - x / constant(6, 1) + -x * 2.5,
    "lerp": lambda x: torch.lerp(x, other(x), 0.3) + torch.lerp(x, x.flip(3), constant(7)),
    "nan_to_num": lambda x: torch.nan_to_num(x),
    "copies": lambda x: x.contiguous().clone().to(torch.float64).type_as(x),
    "detach": with_stopped_gradient,
    "cumsum and diff": lambda x: x.cumsum(2) + x.diff(dim=1).sum(1, keepdim=True),
}


def halved(r):
    return r[:, ::-1] / 2


def added(x, r):
    below = r + 3 * halved(r)
    below[:, 0, :, 0] -= r.sum((1, 3))  # one map's column was stretched over all maps and columns
    return below


def interpolated(x, r):
    weight = constant(7).numpy()
    return 0.7 * r + 0.3 * halved(r) + (1 - weight) * r + (weight * r)[..., ::-1]


def summed_up(x, r):
    """The sum up to row i holds all rows up to i, so row k gets the signals from row k on."""
    below = r[:, :, ::-1].cumsum(2)[:, :, ::-1].copy()
    total = r.sum(1)  # the differences add up to the last map less the first, for all maps
    below[:, 3] += total
    below[:, 0] -= total
    return below


def scaled(x, r):
    return -r * constant(4, 1, 1).numpy() - r / constant(6, 1).numpy() - 2.5 * r


def as_it_is(x, r):
    return r


REPLICAS = {
    "dropout": as_it_is,
    "add and sub": lambda x, r: r - halved(r),
    "add with a factor, sub of what is broadcast": added,
    "rsub, neg, scale": scaled,
    "lerp": interpolated,
    "nan_to_num": as_it_is,
    "copies": as_it_is,
    "detach": lambda x, r: 2 * r + r[:, :, ::-1],
    "cumsum and diff": summed_up,
}

CASES = Cases(LAYERS)


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("name", LAYERS)
def test_adjoint(name, rules):
    check_adjoint(CASES, name, RULES[rules])


def test_every_operator_on_the_way_is_of_the_linear_class():
    check_classes(CASES)


@pytest.mark.parametrize("name", REPLICAS)
def test_replica(name):
    check_replica(CASES, name, REPLICAS[name], DECONVNET)
