"""Choosing: what was selected is recorded and held fixed, ties by convention; masks and indices carry no signal."""

from itertools import product
from math import floor

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from backlight.network import capture
from backlight.operators.ruleset import DECONVNET
from replicas.compare import same, same_bits
from replicas.gates import FROZEN, VALUES, check_case, check_held, check_through, gates
from replicas.heads import Cases, check_replica, check_values, constant
from replicas.linear import RULES, check_adjoint, check_classes, other
from replicas.moving import moves
from replicas.signals import TRANSPOSE, UNPOOL, Down, arrives, below, given, image, values

# --- extremes -------------------------------------------------------------------------------------------------

EXTREMES = {
    "amax": lambda x: x.amax((2, 3)),
    "amax, the dimensions turned about": lambda x: x.amax((3, 2), keepdim=True),
    "amin": lambda x: x.amin((2, 3)),
    "max over a row": lambda x: x.flatten(2).max(2).values,
    "min over a row": lambda x: x.flatten(2).min(2, keepdim=True)[0],
}


@pytest.mark.parametrize("name", EXTREMES)
def test_a_tie_records_the_first_place_in_raster_order(name):
    """*Convention*: and only that one; amax by itself would share the signal out."""
    pixels = image([5.0, 5.0], [5.0, 5.0])
    net = capture(Down(EXTREMES[name], [3.0]), pixels)
    for rules in UNPOOL.values():
        assert arrives(None, pixels, None, rules, net) == [[3, 0], [0, 0]]


def test_a_tie_in_part_of_a_window_and_in_channels_last():
    pixels = image([1.0, 2.0], [2.0, 2.0]).to(memory_format=torch.channels_last)
    assert arrives(EXTREMES["amax"], pixels, [1.0], DECONVNET) == [[0, 1], [0, 0]]


@pytest.mark.parametrize("name", EXTREMES)
def test_replica_of_extremes(name):
    """The signal of each map goes to the place that a loop finds: the largest, or the smallest."""
    pixels = torch.randn(1, 3, 4, 5).double()
    signal, net = given(EXTREMES[name], pixels)
    sign, expected = -1 if "min" in name else 1, np.zeros(pixels.shape)
    for channel, r in enumerate(signal.flatten().tolist()):
        own = sign * pixels[0, channel].numpy()
        expected[0, channel, *max(np.ndindex(4, 5), key=own.__getitem__)] = r
    same(below(net, pixels, DECONVNET), expected)


PAIRS = {
    "maximum": lambda x: torch.maximum(x[..., :1], x[..., 1:]),
    "max": lambda x: torch.max(x[..., :1], x[..., 1:]),
    "minimum": lambda x: torch.minimum(x[..., :1], x[..., 1:]),
    "min": lambda x: torch.min(x[..., :1], x[..., 1:]),
}


@pytest.mark.parametrize("name", PAIRS)
def test_of_two_equal_signals_the_left_one_is_the_switch(name):
    pixels = image([4.0, 4.0], [1.0, 7.0], [7.0, 1.0])
    left_of_unequal = {"max": [[0, 2], [2, 0]], "min": [[2, 0], [0, 2]]}[name[:3]]
    assert arrives(PAIRS[name], pixels, [2.0, 2.0, 2.0], DECONVNET) == [[2, 0], *left_of_unequal]


SELECTORS = {
    "abs": (lambda x: x.abs(), lambda x, z: z * x.sign()),
    "sort": (lambda x: x.sort(3).values, lambda x, z: z.gather(3, x.argsort(3))),
    "topk": (lambda x: x.topk(2, 1).values, lambda x, z: z.gather(1, x.argsort(1, descending=True)[:, :2])),
    "median": (lambda x: x.median(2).values, lambda x, z: z.gather(2, x.argsort(2)[:, :, 1:2]).squeeze(2)),
    "of two": (
        lambda x: torch.maximum(x, x.flip(1)) - torch.min(x, x.flip(2)),
        lambda x, z: torch.where(x > x.flip(1), z, z.flip(1)) - torch.where(x < x.flip(2), z, z.flip(2)),
    ),
}


@pytest.mark.parametrize("name", SELECTORS)
def test_what_was_selected_is_recorded_and_held_fixed(name):
    select, held = SELECTORS[name]
    pixels, z = torch.randn(2, 1, 3, 4, 5).double()
    signal, net = given(select, pixels)
    z.requires_grad_()
    expected = torch.autograd.grad(held(pixels, z), z, signal)[0]
    same(below(net, pixels, DECONVNET), expected)


@pytest.mark.parametrize("name", EXTREMES)
def test_values_are_the_models_bit_for_bit(name):
    pixels = torch.randn(2, 2, 4, 6).double()
    net = given(EXTREMES[name], pixels)[1]
    expected = net(pixels)
    for rules in (*UNPOOL.values(), TRANSPOSE):
        same_bits(values(net, pixels, rules), expected)


# --- by constant masks and indices: linear --------------------------------------------------------------------

GRID = torch.rand(1, 3, 5, 2, generator=torch.Generator().manual_seed(4)).double() * 2 - 1
LAYERS = {
    "index": lambda x: x[:, [0, 2, 2]][:, :, torch.tensor([5, 0])],
    "index_select": lambda x: x.index_select(3, torch.tensor([1, 1, 6])),
    "gather": lambda x: x.gather(3, torch.tensor([0, 3, 3]).expand(x.shape[0], 4, 6, 3)),
    "grid_sample": lambda x: F.grid_sample(x, GRID.expand(x.shape[0], -1, -1, -1), align_corners=False),
    "index_put": lambda x: x.index_put((torch.tensor([0, 1]), torch.tensor([2, 0])), constant(6, 7)),
    "where": lambda x: torch.where(constant(6, 7) > 0, x, other(x)),
    "masked_fill": lambda x: x.masked_fill(constant(6, 7) > 0, 2.5),
    "index_add and index_copy": lambda x: x.index_add(1, torch.tensor([0, 2]), x[:, 2:]).index_copy(
        2, torch.tensor([5, 1]), x[:, :, :2]
    ),
    "index_fill and masked_scatter": lambda x: x.index_fill(1, torch.tensor([1]), 0.5).masked_scatter(
        (constant(6, 7) > 0).expand_as(x), other(x)
    ),
    "scatter and scatter_add": lambda x: (
        torch.zeros_like(x)
        .scatter(3, torch.arange(6, -1, -1).expand_as(x), x)
        .scatter_add(1, torch.tensor([1, 1, 0, 3]).view(1, 4, 1, 1).expand_as(x), x)
    ),
}
CASES = Cases(LAYERS)
MASK = constant(6, 7).numpy() > 0


def sampled(x, r):
    """Each sample is made of the four cells around it, by its distance from them; outside of the map is nothing."""
    found = np.zeros(x.shape)
    for i, j in np.ndindex(3, 5):
        col, row = ((GRID[0, i, j].numpy() + 1) * (7, 6) - 1) / 2
        for h, w in product((floor(row), floor(row) + 1), (floor(col), floor(col) + 1)):
            if 0 <= h < 6 and 0 <= w < 7:
                found[:, :, h, w] += (1 - abs(row - h)) * (1 - abs(col - w)) * r[:, :, i, j]
    return found


def put(x, r):
    found = r.copy()
    found[0, 2] = found[1, 0] = 0  # what was written there is a constant
    return found


def added_and_copied(x, r):
    found = r.copy()
    found[:, :, [5, 1]] = 0
    found[:, 2], found[:, 3] = found[:, 2] + found[:, 0], found[:, 3] + found[:, 2]
    found[:, :, 0] += r[:, :, 5]
    found[:, :, 1] += r[:, :, 1]
    return found


def filled_and_scattered(x, r):
    """Where the mask is, the first entries of the other tensor were put, one after the other."""
    found, source = np.where(MASK, 0, r), np.zeros(x.size)
    found[:, 1] = 0
    put_there = r[np.broadcast_to(MASK, r.shape)]
    source[: len(put_there)] = put_there
    return found + source.reshape(x.shape)[:, ::-1] / 2


def scattered(x, r):
    return r[..., ::-1] + r[:, [1, 1, 0, 3]]


REPLICAS = {
    "index": moves(lambda places: places[:, [0, 2, 2]][:, :, [5, 0]]),
    "index_select": moves(lambda places: places[..., [1, 1, 6]]),
    "gather": moves(lambda places: places[..., [0, 3, 3]]),
    "grid_sample": sampled,
    "index_put": put,
    "where": lambda x, r: np.where(MASK, r, 0) + np.where(MASK, 0, r)[:, ::-1] / 2,
    "masked_fill": lambda x, r: np.where(MASK, 0, r),
    "index_add and index_copy": added_and_copied,
    "index_fill and masked_scatter": filled_and_scattered,
    "scatter and scatter_add": scattered,
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


# --- by masks and indices that the pixels choose: gates -------------------------------------------------------

GATES = {
    "a condition": (
        lambda x: torch.where(x.flip(2) > 0, x, 2 * x.flip(1)),
        lambda x, z: torch.where(x.flip(2) > 0, z, 2 * z.flip(1)),
    ),
    "sampling at places that the pixels choose": (
        lambda x: F.grid_sample(x, x[:, :2].permute(0, 2, 3, 1), align_corners=False),
        lambda x, z: F.grid_sample(z, x[:, :2].permute(0, 2, 3, 1), align_corners=False),
    ),
    "gathering what the pixels choose": (
        lambda x: x.gather(3, x.argsort(2).clamp(max=5)),
        lambda x, z: z.gather(3, x.argsort(2).clamp(max=5)),
    ),
    "masked_fill": (
        lambda x: x.masked_fill(x.flip(2) > 0, 3.0),
        lambda x, z: z.masked_fill(x.flip(2) > 0, 3.0),
    ),
}
CHOSEN = gates(GATES)


@pytest.mark.parametrize("name", GATES)
def test_the_case_is_the_gate(name):
    check_case(CHOSEN, name, GATES[name][1])


@pytest.mark.parametrize("rules", FROZEN)
@pytest.mark.parametrize("name", GATES)
def test_the_factor_is_held_fixed(name, rules):
    check_held(CHOSEN, name, GATES[name][1], rules)


@pytest.mark.parametrize("rules", FROZEN)
@pytest.mark.parametrize("name", GATES)
def test_the_option_vjp_differentiates_through_the_factor(name, rules):
    check_through(CHOSEN, name, rules, is_step="sampling" not in name)


@pytest.mark.parametrize("rules", VALUES)
def test_values_are_the_networks_bit_for_bit(rules):
    check_values(CHOSEN, VALUES[rules])
