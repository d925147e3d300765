"""Attention: with weights A = softmax(Q K'), held fixed, the value gets A' of the signal, and query and key nothing."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from backlight import Unit, capture, project
from backlight.errors import UnsupportedOperatorError
from backlight.operators.ruleset import DECONVNET, GRADIENT
from replicas.gates import (
    CONV,
    FROZEN,
    OTHER,
    ROWS,
    VALUES,
    check_case,
    check_held,
    check_through,
    gates,
    tokens,
)
from replicas.heads import check_replica, check_values

torch.manual_seed(0)
HEADS = nn.MultiheadAttention(4, 2, batch_first=True).double()
HEADS.in_proj_bias.data.normal_()
HEADS.out_proj.bias.data.normal_()
MIX = torch.randn(30, 30).double()


def attention(x):
    return (tokens(CONV(x)) @ tokens(OTHER(x)).transpose(1, 2) / 2).softmax(-1)


def attention_of_heads(x, z):
    """Multi-head self-attention whose weights come from x and whose values come from z."""
    query, key, _ = F.linear(tokens(x), HEADS.in_proj_weight, HEADS.in_proj_bias).chunk(3, -1)
    value = F.linear(tokens(z), HEADS.in_proj_weight, HEADS.in_proj_bias).chunk(3, -1)[2]
    mixed = [
        (q @ k.transpose(1, 2) / 2**0.5).softmax(-1) @ v
        for q, k, v in zip(query.split(2, -1), key.split(2, -1), value.split(2, -1), strict=True)
    ]
    return F.linear(torch.cat(mixed, -1), HEADS.out_proj.weight, HEADS.out_proj.bias)


def scaled_dot_product(x, z):
    return attention(x) @ tokens(z)


GATES = {
    "attention by hand": (lambda x: attention(x) @ tokens(x), scaled_dot_product),
    "attention whose heads are mixed after the softmax": (
        lambda x: torch.tanh(ROWS[:1]) * (MIX @ attention(x)) @ tokens(x),
        lambda x, z: torch.tanh(ROWS[:1]) * (MIX @ attention(x)) @ tokens(z),
    ),
    "attention": (
        lambda x: F.scaled_dot_product_attention(tokens(CONV(x)), tokens(OTHER(x)), tokens(x)),
        scaled_dot_product,
    ),
    "attention of one tensor to itself": (
        lambda x: F.scaled_dot_product_attention(tokens(x), tokens(x), tokens(x)),
        lambda x, z: (tokens(x) @ x.flatten(2) / 2).softmax(-1) @ tokens(z),
    ),
    "attention, the very same tensor": (
        lambda x: F.scaled_dot_product_attention(x, x, x),
        lambda x, z: (x @ x.transpose(2, 3) / 6**0.5).softmax(-1) @ z,
    ),
    "multi-head attention": (
        lambda x: tokens(x) + HEADS(tokens(x), tokens(x), tokens(x))[0],
        lambda x, z: tokens(z) + attention_of_heads(x, z),
    ),
    "multi-head attention without its weights": (
        lambda x: tokens(x) + HEADS(tokens(x), tokens(x), tokens(x), need_weights=False)[0],
        lambda x, z: tokens(z) + attention_of_heads(x, z),
    ),
}
HELD = gates(GATES, HEADS)


def softmax(scores):
    """Return weights along the last axis, which are positive and add up to 1."""
    weights = np.exp(scores)
    return weights / weights.sum(-1, keepdims=True)


def between_positions(x, r):
    """Position q gets of position p the weight of q in p's mixture: A' r."""
    found = np.zeros(x.shape)
    for image, signal, below in zip(x, r, found, strict=True):
        maps = image.reshape(4, 30)
        weights = softmax(maps.T @ maps / 2)  # (p, q)
        below[:] = (weights.T @ signal).T.reshape(4, 5, 6)
    return found


def between_rows(x, r):
    """Rows of one map attend to each other: its columns are their features."""
    found = np.zeros(x.shape)
    for n, c in np.ndindex(2, 4):
        found[n, c] = softmax(x[n, c] @ x[n, c].T / np.sqrt(6)).T @ r[n, c]
    return found


HELD_FACTORS = {
    "attention of one tensor to itself": between_positions,
    "attention, the very same tensor": between_rows,
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
    check_through(HELD, name, rules)


@pytest.mark.parametrize("rules", VALUES)
def test_values_are_the_networks_bit_for_bit(rules):
    check_values(HELD, VALUES[rules])


def test_where_only_the_query_is_a_signal_each_output_sees_what_its_query_sees():
    """Keys and values are constants, as in a memory that is looked up: capture found no field and crashed."""

    class Memory(nn.Module):
        def __init__(self):
            super().__init__()
            generator = torch.Generator().manual_seed(0)
            self.query = nn.Conv2d(3, 4, 3)
            self.keys = nn.Parameter(torch.randn(1, 7, 4, generator=generator))
            self.values = nn.Parameter(torch.randn(1, 7, 4, generator=generator))

        def forward(self, x):
            query = self.query(x).flatten(2).transpose(1, 2)
            found = F.scaled_dot_product_attention(query, self.keys, self.values)
            return torch.relu(found.transpose(1, 2).unflatten(2, (6, 6)))

    net = capture(Memory(), (3, 8, 8))
    layer = net.layers[-1]
    assert layer.is_spatial
    assert layer.receptive_field.size == (3, 3)
    x = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    unit = Unit(layer.name, 1, 2, 4)
    found = project(net, x, [unit], GRADIENT, seed=1.0)[0]
    outside = found.clone()
    outside[:, *layer.receptive_field.box(2, 4).slices()] = 0
    assert found.abs().max() > 0
    assert outside.abs().max() == 0
    with pytest.raises(UnsupportedOperatorError):
        project(net, x, [unit], DECONVNET)
