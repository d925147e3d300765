"""Padding: what a border repeats adds to the pixels that it shows; a constant border shows none."""

import numpy as np
import pytest
import torch.nn.functional as F

from backlight.operators.ruleset import DECONVNET
from replicas.heads import Cases, check_replica
from replicas.linear import RULES, check_adjoint, check_classes
from replicas.moving import moves

LAYERS = {
    "pad constant": lambda x: F.pad(x, (1, 2, 0, 3, 1, 0), value=1.5),
    "pad reflect": lambda x: F.pad(x, (3, 2, 1, 3), mode="reflect"),
    "pad replicate": lambda x: F.pad(x, (3, 2, 1, 3), mode="replicate"),
    "pad circular": lambda x: F.pad(x, (3, 2, 1, 3), mode="circular"),
    "crop by a negative pad": lambda x: F.pad(x, (-1, 2, -2, -1)),
}


def bordered(mode):
    return moves(lambda places: np.pad(places, ((0, 0), (0, 0), (1, 3), (3, 2)), mode))


def outside(places, *widths):
    return np.pad(places, ((0, 0), *widths), constant_values=-1)


REPLICAS = {
    "pad constant": moves(lambda places: outside(places, (1, 0), (0, 3), (1, 2))),
    "pad reflect": bordered("reflect"),
    "pad replicate": bordered("edge"),
    "pad circular": bordered("wrap"),
    "crop by a negative pad": moves(lambda places: outside(places[:, :, 2:-1, 1:], (0, 0), (0, 0), (0, 2))),
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
