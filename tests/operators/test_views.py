"""Views: the signal of an entry is that of the same entry in the other shape or order; those of its copies add up."""

import numpy as np
import pytest

from backlight.operators.ruleset import DECONVNET
from replicas.heads import Cases, check_replica
from replicas.linear import RULES, check_adjoint, check_classes
from replicas.moving import moves

LAYERS = {
    "view and reshape": lambda x: x.view(-1, 4, 42).reshape(-1, 8, 21),
    "flatten and unflatten": lambda x: x.flatten(1).unflatten(1, (7, 24)),
    "permute, transpose, movedim": lambda x: x.permute(0, 2, 3, 1).transpose(1, 3).movedim(1, 2),
    "squeeze, unsqueeze, expand": lambda x: x.unsqueeze(2).expand(-1, -1, 3, -1, -1)[:, :1].squeeze(1),
}


def in_raster_order(*sizes):
    """Return places in other sizes, written as loops: the last dimension counts fastest."""

    def function(places):
        found, order = np.empty((len(places), *sizes), int), iter(places.flat)
        for place in np.ndindex(*found.shape):
            found[place] = next(order)
        return found

    return moves(function)


def turned(places):
    n, c, h, w = places.shape
    found = np.empty((n, w, c, h), int)
    for i, j, k, m in np.ndindex(n, c, h, w):
        found[i, m, j, k] = places[i, j, k, m]
    return found


REPLICAS = {
    "view and reshape": in_raster_order(8, 21),
    "flatten and unflatten": in_raster_order(7, 24),
    "permute, transpose, movedim": moves(turned),
    "squeeze, unsqueeze, expand": moves(lambda places: places[:, [0, 0, 0]]),
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
