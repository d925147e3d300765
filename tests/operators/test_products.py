"""Products: transposed matrices of constants; of two signals the factor is held fixed, and scales what is passed."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from backlight.operators.ruleset import DECONVNET
from replicas.gates import (
    CONV,
    FROZEN,
    OTHER,
    VALUES,
    check_case,
    check_held,
    check_through,
    gates,
    tokens,
)
from replicas.heads import Cases, check_replica, check_values, constant
from replicas.linear import RULES, check_adjoint, check_classes, other

# --- with constants: linear -----------------------------------------------------------------------------------

torch.manual_seed(0)
LAYERS = {
    "linear": nn.Linear(7, 5),
    "mul": lambda x: constant(4, 1, 1) * x * 1.5,
    "einsum": lambda x: torch.einsum("nchw,kc,wv->nkvh", x, constant(5, 4), constant(7, 3)),
    "matmul": lambda x: x @ constant(7, 5) + constant(6, 6) @ x[..., :5],
    "bmm and baddbmm": lambda x: torch.baddbmm(constant(5), x[:, 0], constant(7, 5).expand(x.shape[0], 7, 5)),
    "addmm of two signals": lambda x: torch.addmm(other(x).flatten(1)[:, :5], x.flatten(1), constant(168, 5)),
    "mm and mv": lambda x: x.flatten(1).mm(constant(168, 5)) + (x @ constant(7)).sum(1)[:, :5],
}
CASES = Cases(LAYERS)


def array(*shape):
    return constant(*shape).numpy()


def multiplied_on_both_sides(x, r):
    found = r @ array(7, 5).T
    found[..., :5] += array(6, 6).T @ r
    return found


def of_first_map(x, r):
    found = np.zeros(x.shape)
    found[:, 0] = r @ array(7, 5).T
    return found


def of_two_signals(x, r):
    """The added signal is half of the first five values of the reversed maps: of the last map's first row."""
    found = (r @ array(168, 5).T).reshape(x.shape)
    found[:, 3, 0, :5] += r / 2
    return found


def of_matrix_and_vector(x, r):
    found = (r @ array(168, 5).T).reshape(x.shape)
    found[:, :, :5] += r[:, None, :, None] * array(7)
    return found


REPLICAS = {
    "linear": lambda x, r: r @ LAYERS["linear"].weight.detach().numpy(),
    "mul": lambda x, r: r * array(4, 1, 1) * 1.5,
    "einsum": lambda x, r: np.einsum("nkvh,kc,wv->nchw", r, array(5, 4), array(7, 3)),
    "matmul": multiplied_on_both_sides,
    "bmm and baddbmm": of_first_map,
    "addmm of two signals": of_two_signals,
    "mm and mv": of_matrix_and_vector,
}


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("name", LAYERS)
def test_adjoint(name, rules):
    check_adjoint(CASES, name, RULES[rules])


def test_every_operator_on_the_way_is_of_the_linear_class():
    check_classes(CASES)


@pytest.mark.parametrize("name", REPLICAS)
def test_replica(name):
    check_replica(CASES, name, REPLICAS[name], DECONVNET)


# --- of two signals: gates ------------------------------------------------------------------------------------

DOWN, UP = nn.Conv2d(4, 2, 1).double(), nn.Conv2d(2, 4, 1).double()
DOWN.bias.data.fill_(1.0)  # so that the rectifier inside squeeze-excite is open
SPATIAL = nn.Conv2d(2, 1, 3, padding=1).double()


def squeeze_excite(x):
    return torch.sigmoid(UP(F.relu(DOWN(x.mean((2, 3), keepdim=True)))))


def spatial_attention(x):
    return torch.sigmoid(SPATIAL(torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], 1)))


def second_order(x):
    maps = x.flatten(2)
    return maps @ maps.transpose(1, 2)


def tanh_gate(x):
    return 1 + torch.tanh(0.9 * (x + 0.044715 * x**3))  # 0.798 would make it GELU itself


def running_products(x):
    return torch.sigmoid(torch.cumprod(x.sort(1).values, 2).median(3, keepdim=True).values)


GATES = {
    "squeeze-excite": (lambda x: x * squeeze_excite(x), lambda x, z: z * squeeze_excite(x)),
    "squeeze-excite, factor first": (lambda x: squeeze_excite(x) * x, lambda x, z: z * squeeze_excite(x)),
    "squeeze-excite, expand_as": (
        lambda x: x * F.hardsigmoid(x.mean((2, 3), keepdim=True)).expand_as(x),
        lambda x, z: z * F.hardsigmoid(x.mean((2, 3), keepdim=True)),
    ),
    "spatial attention": (lambda x: x * spatial_attention(x), lambda x, z: z * spatial_attention(x)),
    "a steeper swish by hand": (
        lambda x: x * torch.sigmoid(1.702 * x),
        lambda x, z: z * torch.sigmoid(1.702 * x),
    ),
    "a steeper mish by hand": (
        lambda x: x * F.softplus(1.3 * x).tanh(),
        lambda x, z: z * F.softplus(1.3 * x).tanh(),
    ),
    "a steeper gelu by hand": (lambda x: 0.5 * x * tanh_gate(x), lambda x, z: 0.5 * z * tanh_gate(x)),
    "gated linear unit": (
        lambda x: CONV(x) * torch.sigmoid(OTHER(x)),
        lambda x, z: CONV(z) * torch.sigmoid(OTHER(x)),
    ),
    "a square": (lambda x: x * x, lambda x, z: z * x),
    "a mask": (lambda x: x.flip(1) * (x > 0), lambda x, z: z.flip(1) * (x > 0)),
    "a second-order einsum": (
        lambda x: torch.einsum("nchw,ndhw->ncd", x, x),
        lambda x, z: torch.einsum("nchw,ndhw->ncd", z, x),
    ),
    "a second-order pooling": (second_order, lambda x, z: z.flatten(2) @ tokens(x)),
    "an unknown operator in the factor": (
        lambda x: x * running_products(x),
        lambda x, z: z * running_products(x),
    ),
}
HELD = gates(GATES, DOWN, UP, SPATIAL)


def of_second_order(x, r):
    """Value (c, d) is the sum over positions of map c, the signal, times map d, its factor."""
    return np.einsum("ncd,ndhw->nchw", r, x)


def excited(x, r):
    """Each map times the sigmoid of two layers of its own mean, written as matrices."""
    weights = [m.weight.detach().numpy()[:, :, 0, 0] for m in (DOWN, UP)]
    biases = [m.bias.detach().numpy() for m in (DOWN, UP)]
    hidden = np.maximum(x.mean((2, 3)) @ weights[0].T + biases[0], 0)
    return r / (1 + np.exp(-hidden @ weights[1].T - biases[1]))[:, :, None, None]


HELD_FACTORS = {
    "squeeze-excite": excited,
    "a square": lambda x, r: r * x,
    "a mask": lambda x, r: np.where(x > 0, r, 0)[:, ::-1],
    "a steeper swish by hand": lambda x, r: r / (1 + np.exp(-1.702 * x)),
    "a second-order einsum": of_second_order,
    "a second-order pooling": of_second_order,
}


@pytest.mark.parametrize("name", HELD_FACTORS)
def test_replica_of_held_factors(name):
    check_replica(HELD, name, HELD_FACTORS[name], DECONVNET)


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
    check_through(HELD, name, rules, is_step=name == "a mask")


@pytest.mark.parametrize("rules", VALUES)
def test_values_are_the_networks_bit_for_bit(rules):
    check_values(HELD, VALUES[rules])
