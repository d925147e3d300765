"""Parts and copies: each signal returns to the entry that was picked, moved or repeated; those of copies add up."""

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view

from backlight.operators.ruleset import DECONVNET
from replicas.heads import Cases, check_replica
from replicas.linear import RULES, check_adjoint, check_classes
from replicas.moving import moves

LAYERS = {
    "slice": lambda x: x[:, 1:, ::2, -3:],
    "select": lambda x: x[:, 2] + x[:, 0, :, :1],
    "repeat, tile, repeat_interleave": lambda x: x.repeat(1, 2, 1, 1).tile(2).repeat_interleave(2, 2),
    "roll, flip, rot90": lambda x: x.roll((1, -2), (2, 3)).flip(1).rot90(1, (2, 3)),
    "tensor.unfold": lambda x: x.unfold(2, 3, 2).unfold(3, 2, 1),
    "diag_embed": lambda x: torch.diag_embed(x[:, :, 0]),
    "tril, triu, diagonal": lambda x: x.tril(1).triu(-1).diagonal(1, 2, 3),
}


def selected(x, signal):
    below = np.zeros(x.shape)
    below[:, 2] += signal
    below[:, 0, :, 0] += signal.sum(-1)  # one column was added to all
    return below


def windows(places):
    rows = sliding_window_view(places, 3, axis=2)[:, :, ::2]
    return sliding_window_view(rows, 2, axis=3)


def diagonals(places):
    found = np.full((*places.shape[:2], 7, 7), -1)
    for i in range(7):
        found[:, :, i, i] = places[:, :, 0, i]
    return found


REPLICAS = {
    "slice": moves(lambda places: places[:, [1, 2, 3]][:, :, [0, 2, 4]][..., [4, 5, 6]]),
    "select": selected,
    "repeat, tile, repeat_interleave": moves(
        lambda places: np.repeat(np.concatenate([np.concatenate([places] * 2, 1)] * 2, 3), 2, 2)
    ),
    "roll, flip, rot90": moves(
        lambda places: np.rot90(np.flip(np.roll(places, (1, -2), (2, 3)), 1), 1, (2, 3))
    ),
    "tensor.unfold": moves(windows),
    "diag_embed": moves(diagonals),
    "tril, triu, diagonal": moves(lambda places: places[:, :, range(6), range(1, 7)]),
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
