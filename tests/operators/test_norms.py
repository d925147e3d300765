"""Norms: a scale for each map, position or group, which is held fixed; a mean that is subtracted is not."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from backlight.operators.ruleset import DECONVNET
from replicas.gates import (
    BIAS,
    FROZEN,
    ROWS,
    VALUES,
    WEIGHT,
    check_case,
    check_held,
    check_through,
    gates,
)
from replicas.heads import Cases, check_replica, check_values, constant
from replicas.linear import RULES, check_adjoint, check_classes


def trained(module, *shape):
    """Return a norm with running statistics and weights of both signs that are all different."""
    module.running_mean.copy_(constant(*shape))
    module.running_var.copy_(constant(*shape, seed=1) ** 2 + 0.1)
    module.weight.data.copy_(constant(*shape, seed=2))
    module.bias.data.copy_(constant(*shape, seed=3))
    return module


LAYERS = {
    "batch_norm": trained(nn.BatchNorm2d(4), 4),
    "batch_norm of a vector": nn.Sequential(nn.Flatten(), trained(nn.BatchNorm1d(168), 168)),
    "instance_norm with running statistics": trained(
        nn.InstanceNorm2d(4, affine=True, track_running_stats=True), 4
    ),
}
CASES = Cases(LAYERS)


def scale(module):
    """Return the weight over the standard deviation, one number for each map."""
    weight, variance = (t.detach().numpy() for t in (module.weight, module.running_var))
    return weight / np.sqrt(variance + module.eps)


REPLICAS = {
    "batch_norm": lambda x, r: r * scale(LAYERS["batch_norm"])[:, None, None],
    "batch_norm of a vector": lambda x, r: (r * scale(LAYERS["batch_norm of a vector"][1])).reshape(x.shape),
    "instance_norm with running statistics": lambda x, r: (
        r * scale(LAYERS["instance_norm with running statistics"])[:, None, None]
    ),
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


# --- by the image's own statistics: gates ---------------------------------------------------------------------


def standardised(x, z, dims, eps=1e-5, groups=None):
    """Subtract z's own mean and divide by the standard deviation of x over the same entries."""
    if groups:
        x, z = (v.reshape(len(v), groups, -1) for v in (x, z))
        dims = (-1,)
    std = (x.var(dims, correction=0, keepdim=True) + eps).sqrt()
    return (z - z.mean(dims, keepdim=True)) / std


def grouped(x, z, groups, weight, bias, eps=1e-5):
    flat = standardised(x, z, (-1,), eps, groups).reshape(z.shape)
    return flat * weight.view(-1, 1, 1) + bias.view(-1, 1, 1)


def rms(x, eps):
    return (x.square().mean(-1, keepdim=True) + eps).sqrt()


GATES = {
    "layer norm": (
        lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (4,), WEIGHT, BIAS, 1e-2),
        lambda x, z: standardised(x, z, 1, 1e-2).permute(0, 2, 3, 1) * WEIGHT + BIAS,
    ),
    "layer norm over two dimensions": (
        lambda x: F.layer_norm(x, (5, 6)),
        lambda x, z: standardised(x, z, (2, 3)),
    ),
    "layer norm by hand": (
        lambda x: (x - x.mean(1, keepdim=True)) / (x.var(1, correction=0, keepdim=True) + 1e-5).sqrt(),
        lambda x, z: standardised(x, z, 1),
    ),
    "group norm": (
        lambda x: F.group_norm(x, 2, WEIGHT, BIAS, 1e-2),
        lambda x, z: grouped(x, z, 2, WEIGHT, BIAS, 1e-2),
    ),
    "group norm without weights": (
        lambda x: F.group_norm(x, 1),
        lambda x, z: grouped(x, z, 1, torch.ones(4), torch.zeros(4)),
    ),
    "instance norm": (
        lambda x: F.instance_norm(x, weight=WEIGHT, bias=BIAS, eps=1e-2),
        lambda x, z: grouped(x, z, 4, WEIGHT, BIAS, 1e-2),
    ),
    "rms norm": (
        lambda x: F.rms_norm(x, (6,), ROWS, 1e-2),
        lambda x, z: z / rms(x, 1e-2) * ROWS,
    ),
    "rms norm without weights": (
        lambda x: F.rms_norm(x, (6,)),
        lambda x, z: z / rms(x, torch.finfo(torch.float64).eps),
    ),
}
STATISTICS = gates(GATES)
WEIGHTS = WEIGHT.numpy()[:, None, None]


def scaled(r, x, eps):
    """Divide a row by the standard deviation of x, and subtract what the mean takes from each entry."""
    return (r - r.mean()) / np.sqrt(((x - x.mean()) ** 2).mean() + eps)


def of_positions(x, r):
    found = np.zeros(x.shape)
    for n, h, w in np.ndindex(2, 5, 6):
        found[n, :, h, w] = scaled(r[n, h, w] * WEIGHT.numpy(), x[n, :, h, w], 1e-2)
    return found


def of_groups(size):
    """Return the replica of a norm over groups of so many maps."""

    def replica(x, r):
        found = np.zeros(x.shape)
        for n, first in np.ndindex(2, 4 // size):
            maps = slice(first * size, (first + 1) * size)
            found[n, maps] = scaled((r * WEIGHTS)[n, maps], x[n, maps], 1e-2)
        return found

    return replica


HELD_SCALES = {
    "layer norm": of_positions,
    "group norm": of_groups(2),
    "instance norm": of_groups(1),
    "rms norm": lambda x, r: r * ROWS.numpy() / np.sqrt((x**2).mean(3, keepdims=True) + 1e-2),
}


@pytest.mark.parametrize("name", HELD_SCALES)
def test_replica_of_held_scales(name):
    check_replica(STATISTICS, name, HELD_SCALES[name], DECONVNET)


@pytest.mark.parametrize("name", GATES)
def test_the_case_is_the_gate(name):
    check_case(STATISTICS, name, GATES[name][1])


@pytest.mark.parametrize("rules", FROZEN)
@pytest.mark.parametrize("name", GATES)
def test_the_factor_is_held_fixed(name, rules):
    check_held(STATISTICS, name, GATES[name][1], rules)


@pytest.mark.parametrize("rules", FROZEN)
@pytest.mark.parametrize("name", GATES)
def test_the_option_vjp_differentiates_through_the_factor(name, rules):
    check_through(STATISTICS, name, rules)


@pytest.mark.parametrize("rules", VALUES)
def test_values_are_the_networks_bit_for_bit(rules):
    check_values(STATISTICS, VALUES[rules])
