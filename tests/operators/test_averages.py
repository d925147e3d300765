"""Averages: pools fill their windows or share the signal out, each convention by a small example and in loops."""

from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from backlight.network import capture
from backlight.operators.ruleset import DECONVNET
from replicas import pooling
from replicas.compare import same, same_bits
from replicas.heads import Cases, check_replica
from replicas.linear import RULES, check_adjoint, check_classes
from replicas.signals import TRANSPOSE, UNPOOL, Down, arrives, below, given, image, values

LAYERS = {
    "avg_pool2d": lambda x: F.avg_pool2d(x, 3, 2, padding=1, ceil_mode=True, count_include_pad=False),
    "avg_pool2d, padding counted": lambda x: F.avg_pool2d(x, (3, 2), (2, 1), padding=1),
    "avg_pool2d, divisor": lambda x: F.avg_pool2d(x, (2, 3), 1, divisor_override=5),
    "avg_pool1d and 3d": lambda x: F.avg_pool3d(
        F.avg_pool1d(x.flatten(2), 3, padding=1).unflatten(2, (2, 7)), 2, 1
    ),
    "adaptive_avg_pool2d": lambda x: F.adaptive_avg_pool2d(x, (4, 3)),
    "adaptive_avg_pool1d": lambda x: F.adaptive_avg_pool1d(x.flatten(2), 5),
    "mean of the maps": lambda x: x.mean((2, 3)),
    "mean over channels": lambda x: x - x.mean(1, keepdim=True),
    "sum and cumsum": lambda x: x.sum((1, 3)) + x.cumsum(2).sum(1)[..., 0],
}
CASES = Cases(LAYERS)


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("name", LAYERS)
def test_adjoint(name, rules):
    check_adjoint(CASES, name, RULES[rules])


def test_every_operator_on_the_way_is_of_the_linear_class():
    check_classes(CASES)


class Divided(pooling.AveragePool):
    """An average whose sum is divided by a given number."""

    def __init__(self, windows, divisor):
        super().__init__(windows)
        self.divisor = divisor

    def cells(self, size):
        for above, places, _ in super().cells(size):
            yield above, places, self.divisor


class Global(pooling.AveragePool):
    """One average of all positions."""

    def __init__(self):
        pass

    def cells(self, size):
        places = list(product(*map(range, size)))
        yield (0, 0), places, len(places)


POOLS = {
    "avg_pool2d": pooling.AveragePool(pooling.Windows((3, 3), (2, 2), (1, 1), ceil_mode=True), False),
    "avg_pool2d, padding counted": pooling.AveragePool(pooling.Windows((3, 2), (2, 1), (1, 1))),
    "avg_pool2d, divisor": Divided(pooling.Windows((2, 3), (1, 1)), 5),
    "adaptive_avg_pool2d": pooling.AdaptiveAveragePool((4, 3)),
    "mean of the maps": Global(),
}


@pytest.mark.parametrize("rules", [DECONVNET, TRANSPOSE], ids=lambda rules: rules.name)
@pytest.mark.parametrize("name", POOLS)
def test_replica_of_pools(name, rules):
    """Filled, each place gets the whole value of each of its windows; transposed, its share."""
    layer = POOLS[name]

    def replica(x, signal):
        found = []
        for own, r in zip(x, signal, strict=True):
            above = layer.up(own)
            found += layer.down(r.reshape(above.shape), rules)
        return np.stack(found)

    check_replica(CASES, name, replica, rules)


def summed(x, signal):
    """Row i of the running sum holds all rows up to i; of it the first column was added up over the maps."""
    found = np.repeat(np.repeat(signal[:, None, :, None], 4, 1), 7, 3)
    found[..., 0] += signal[:, None, ::-1].cumsum(2)[:, :, ::-1]
    return found


def in_a_row(x, signal):
    """Fifths of a row of 42 cells; some cells lie in two."""
    found = np.zeros((2, 4, 42))
    for i in range(5):
        first, end = i * 42 // 5, -(-(i + 1) * 42 // 5)
        found[:, :, first:end] += signal[:, :, i : i + 1] / (end - first)
    return found.reshape(x.shape)


REPLICAS = {  # no pools: the derivative, whatever the option
    "mean over channels": lambda x, r: r - r.mean(1, keepdims=True),
    "sum and cumsum": summed,
    "adaptive_avg_pool1d": in_a_row,
}


@pytest.mark.parametrize("rules", [DECONVNET, TRANSPOSE], ids=lambda rules: rules.name)
@pytest.mark.parametrize("name", REPLICAS)
def test_replica_of_others(name, rules):
    check_replica(CASES, name, REPLICAS[name], rules)


def test_average_pooling_fills_or_shares_out():
    pixels = image([1.0, 2.0, 3.0, 4.0])
    net = capture(Down(lambda x: F.avg_pool2d(x, (1, 2), 1), [4.0, 0.0, 8.0]), pixels)
    assert arrives(None, pixels, None, DECONVNET, net) == [[4, 4, 8, 8]]
    assert arrives(None, pixels, None, TRANSPOSE, net) == [[2, 2, 4, 4]]


def test_windows_of_average_pooling_that_overlap_add():
    net = capture(Down(lambda x: F.adaptive_avg_pool2d(x, (1, 2)), [6.0, 12.0]), image([1.0, 2.0, 3.0]))
    assert arrives(None, image([1.0, 2.0, 3.0]), None, DECONVNET, net) == [[6, 18, 12]]
    assert arrives(None, image([1.0, 2.0, 3.0]), None, TRANSPOSE, net) == [[3, 9, 6]]


GLOBAL = {
    "adaptive_avg_pool2d": lambda x: F.adaptive_avg_pool2d(x, 1),
    "avg_pool2d": lambda x: F.avg_pool2d(x, (2, 3)),
    "avg_pool2d in ceil mode": lambda x: F.avg_pool2d(x, 3, 3, ceil_mode=True, count_include_pad=False),
    "avg_pool2d with a divisor": lambda x: F.avg_pool2d(x, (2, 3), divisor_override=6),
    "mean": lambda x: x.mean((2, 3)),
    "mean, negative dimensions": lambda x: x.mean([-1, -2], keepdim=True),
    "mean, one dimension after the other": lambda x: x.mean(3).mean(2),
    "mean of channels last": lambda x: x.permute(0, 2, 3, 1).mean((1, 2)),
}


@pytest.mark.parametrize("name", GLOBAL)
def test_global_averages_fill_however_they_are_written(name):
    pixels = image([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])
    net = capture(Down(GLOBAL[name], [12.0]), pixels)
    assert arrives(None, pixels, None, DECONVNET, net) == [[12, 12, 12], [12, 12, 12]]
    same(below(net, pixels, TRANSPOSE), torch.full((1, 1, 2, 3), 2.0))


def test_a_mean_over_channels_is_no_pooling_and_does_not_fill():
    pixels = torch.randn(1, 4, 1, 1).double()
    net = capture(Down(lambda x: x.mean(1), [8.0]), pixels)
    assert below(net, pixels, DECONVNET).flatten().tolist() == [2, 2, 2, 2]


@pytest.mark.parametrize("name", GLOBAL)
def test_values_are_the_models_bit_for_bit(name):
    pixels = torch.randn(2, 2, 4, 6).double()
    net = given(GLOBAL[name], pixels)[1]
    expected = net(pixels)
    for rules in (*UNPOOL.values(), TRANSPOSE):
        same_bits(values(net, pixels, rules), expected)
