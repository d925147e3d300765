"""Powers and gated linear units: the signal times x ** (p - 1), or times the sigmoid of the other half, held fixed."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from backlight.operators.ruleset import DECONVNET
from replicas.compare import same
from replicas.gates import CONV, FROZEN, VALUES, check_case, check_held, check_through, gates
from replicas.heads import check_replica, check_values
from replicas.signals import below, given

GATES = {
    "a power": (lambda x: x**3, lambda x, z: z * x**2),
    "a power by name": (lambda x: x.square(), lambda x, z: z * x),
    "a root": (
        lambda x: (x.flip(2) ** 4 + 1).sqrt(),
        lambda x, z: (z * x**3 + 1).flip(2) / (x.flip(2) ** 4 + 1).sqrt(),
    ),
    "a gated linear unit by name": (
        lambda x: F.glu(CONV(x), 1),
        lambda x, z: CONV(z)[:, :2] * torch.sigmoid(CONV(x)[:, 2:]),
    ),
    "a gated linear unit of the pixels": (
        lambda x: F.glu(x, 1),
        lambda x, z: z[:, :2] * torch.sigmoid(x[:, 2:]),
    ),
}
HELD = gates(GATES)


def first_half(x, r):
    found = np.zeros(x.shape)
    found[:, :2] = r / (1 + np.exp(-x[:, 2:]))
    return found


HELD_FACTORS = {
    "a power": lambda x, r: r * x**2,
    "a power by name": lambda x, r: r * x,
    "a root": lambda x, r: (r / np.sqrt(x[:, :, ::-1] ** 4 + 1))[:, :, ::-1] * x**3,
    "a gated linear unit of the pixels": first_half,
}


@pytest.mark.parametrize("name", HELD_FACTORS)
def test_replica_of_held_factors(name):
    check_replica(HELD, name, HELD_FACTORS[name], DECONVNET)


def test_an_infinite_factor_passes_nothing():
    """*Convention*: the root of zero has the factor 1 / 0."""
    pixels = torch.tensor([0.0, 4.0, 9.0]).double().view(1, 1, 1, 3)
    signal, net = given(torch.sqrt, pixels)
    same(below(net, pixels, DECONVNET), signal / torch.tensor([torch.inf, 2.0, 3.0]).double())


@pytest.mark.parametrize("name", GATES)
def test_the_case_is_the_gate(name):
    check_case(HELD, name, GATES[name][1])


@pytest.mark.parametrize("rules", FROZEN)
@pytest.mark.parametrize("name", GATES)
def test_the_factor_is_held_fixed(name, rules):
    check_held(HELD, name, GATES[name][1], rules)


@pytest.mark.parametrize("rules", FROZEN)
@pytest.mark.parametrize("name", GATES)
def test_the_option_vjp_differentiates_through_the_factor(name, rules):
    check_through(HELD, name, rules)


@pytest.mark.parametrize("rules", VALUES)
def test_values_are_the_networks_bit_for_bit(rules):
    check_values(HELD, VALUES[rules])
