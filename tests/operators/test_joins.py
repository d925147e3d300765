"""Joins and parts: each tensor gets the signal of its own part; what was written over gets none."""

import pytest
import torch

from backlight.operators.ruleset import DECONVNET
from replicas.heads import Cases, check_replica
from replicas.linear import RULES, check_adjoint, check_classes, other
from replicas.moving import moves


def written_in_place(x):
    y = x.clone()
    y[:, 1] = 2 * x[:, 0]
    y[:, :, 2:4] = 1.0
    return y


LAYERS = {
    "cat": lambda x: torch.cat([x, other(x), x], 2),
    "stack": lambda x: torch.stack([x, other(x)], 1),
    "hstack": lambda x: torch.hstack([x, other(x)]),
    "narrow, split, chunk, unbind": lambda x: torch.cat(
        [*x.split([1, 3], 1), x.narrow(1, 1, 2), *x.chunk(2, 1), x.unbind(1)[0][:, None]], 1
    ),
    "a shortcut padded with zeros": lambda x: torch.cat([x, torch.zeros_like(x)], 1) + x.new_ones(7),
    "written in place": written_in_place,
}


def halved(signal):
    """Return what the second of the joined tensors, half of x with its maps reversed, passes on."""
    return signal[:, ::-1] / 2


def written(x, signal):
    below = signal.copy()
    below[:, :, 2:4] = 0
    from_first = 2 * below[:, 1]
    below[:, 1] = 0
    below[:, 0] += from_first
    return below


REPLICAS = {
    "cat": lambda x, r: r[:, :, :6] + halved(r[:, :, 6:12]) + r[:, :, 12:],
    "stack": lambda x, r: r[:, 0] + halved(r[:, 1]),
    "hstack": lambda x, r: r[:, :4] + halved(r[:, 4:]),
    "narrow, split, chunk, unbind": moves(lambda places: places[:, [0, 1, 2, 3, 1, 2, 0, 1, 2, 3, 0]]),
    "a shortcut padded with zeros": lambda x, r: r[:, :4],
    "written in place": written,
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
