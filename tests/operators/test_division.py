"""Division: the signal over the divisor, held fixed; for response normalisation as the option says."""

import numpy as np
import pytest
import torch.nn.functional as F
from torch import nn

from backlight.network import capture
from backlight.operators.ruleset import DECONVNET, RuleSet
from replicas import pooling
from replicas.compare import pull, same
from replicas.gates import FROZEN, VALUES, check_case, check_held, check_through, gates
from replicas.heads import check_replica, check_values, constant

GATES = {
    "a quotient": (lambda x: x / (1 + x.abs()), lambda x, z: z / (1 + x.abs())),
    "a unit vector": (
        lambda x: F.normalize(x, dim=1),
        lambda x, z: z / x.norm(dim=1, keepdim=True).clamp_min(1e-12),
    ),
}
HELD = gates(GATES)
HELD_FACTORS = {
    "a quotient": lambda x, r: r / (1 + np.abs(x)),
    "a unit vector": lambda x, r: r / np.sqrt((x**2).sum(1, keepdims=True)),
}


@pytest.mark.parametrize("name", HELD_FACTORS)
def test_replica_of_held_factors(name):
    check_replica(HELD, name, HELD_FACTORS[name], DECONVNET)


@pytest.mark.parametrize("option", ["identity", "frozen", "inverse", "vjp"])
@pytest.mark.parametrize("as_function", [False, True], ids=["module", "function"])
def test_replica_of_response_normalisation(as_function, option):
    """The divisor written in loops over neighbouring maps; `gates` does not say what happens to it."""

    class Normalised(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.LocalResponseNorm(3, 0.5, 0.75, 1.5)

        def forward(self, x):
            return F.local_response_norm(x, 3, 0.5, 0.75, 1.5) if as_function else self.norm(x)

    x, signal = 2 * constant(1, 5, 3, 4, seed=7), constant(1, 5, 3, 4, seed=8)
    net = capture(Normalised().double(), x)
    replica, layer = pooling.LocalResponseNorm(3, 0.5, 0.75, 1.5), net.layers[-1].name
    for gate in ("frozen", "vjp"):
        rules = RuleSet("mine", lrn=option, gates=gate)
        value, found = pull(net, layer, x, signal, rules)
        same(value[0], replica.up(x[0].numpy()))
        same(found[0], replica.down(signal[0].numpy(), rules)[0])


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
