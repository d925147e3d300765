"""Max pooling: ties, overlapping windows and the ways to unpool; each convention by a small example, all in loops."""

import pytest
import torch
import torch.nn.functional as F

from backlight.network import capture
from backlight.operators.ruleset import DECONVNET, GRADIENT
from replicas import pooling
from replicas.compare import differ, every_place, pull, same, same_bits
from replicas.signals import TRANSPOSE, UNPOOL, Down, arrives, below, given, image, values

MAXIMA = {
    "max_pool2d": lambda x: F.max_pool2d(x, 2),
    "max_pool2d with switches": lambda x: F.max_pool2d(x, 2, return_indices=True)[0],
    "adaptive_max_pool2d": lambda x: F.adaptive_max_pool2d(x, (1, 1)),
    "max_pool3d": lambda x: F.max_pool3d(x, (1, 2, 2)),
    "max_pool1d": lambda x: F.max_pool1d(x.flatten(2), 4),
}


@pytest.mark.parametrize("name", MAXIMA)
def test_a_tie_records_the_first_place_in_raster_order(name):
    """*Convention*: and only that one."""
    pixels = image([5.0, 5.0], [5.0, 5.0])
    net = capture(Down(MAXIMA[name], [3.0]), pixels)
    for rules in UNPOOL.values():
        assert arrives(None, pixels, None, rules, net) == [[3, 0], [0, 0]]


@pytest.mark.parametrize("name", ["max_pool2d", "max_pool1d"])
def test_a_tie_in_part_of_a_window_and_in_channels_last(name):
    pixels = image([1.0, 2.0], [2.0, 2.0]).to(memory_format=torch.channels_last)
    assert arrives(MAXIMA[name], pixels, [1.0], DECONVNET) == [[0, 1], [0, 0]]


def test_overlapping_windows_that_chose_the_same_place():
    """Windows 0..1 and 1..2 both chose the middle; then signals of either order and sign arrive."""
    pixels = image([0.0, 9.0, 0.0])
    results = {
        (3.0, 2.0): {"add": 5, "assign-largest": 3, "assign-last": 2},
        (2.0, -3.0): {"add": -1, "assign-largest": -3, "assign-last": -3},
        (-3.0, 2.0): {"add": -1, "assign-largest": -3, "assign-last": 2},
        (4.0, -4.0): {"add": 0, "assign-largest": 4, "assign-last": -4},  # *Convention*: of +a and -a, +a
        (-4.0, 4.0): {"add": 0, "assign-largest": 4, "assign-last": 4},
        (2.0, 0.0): {"add": 2, "assign-largest": 2, "assign-last": 0},
    }
    net = capture(Down(lambda x: F.max_pool2d(x, (1, 2), 1), *results), pixels)
    for row, (signal, expected) in enumerate(results.items()):
        for mode, middle in expected.items():
            seed = F.one_hot(torch.tensor([row]), len(results)).double()
            found = pull(net, "head", pixels, seed, UNPOOL[mode])[1]
            assert found.flatten().tolist() == [0, middle, 0], (signal, mode)


REPLICAS = {  # function, and the windows of its replica
    "overlapping": (lambda x: F.max_pool2d(x, 3, 2, 1), pooling.Windows((3, 3), (2, 2), (1, 1))),
    "in ceil mode": (
        lambda x: F.max_pool2d(x, (2, 3), (1, 2), ceil_mode=True),
        pooling.Windows((2, 3), (1, 2), ceil_mode=True),
    ),
    "dilated": (
        lambda x: F.max_pool2d(x, 2, 1, dilation=(2, 1)),
        pooling.Windows((2, 2), (1, 1), dilation=(2, 1)),
    ),
}


@pytest.mark.parametrize("mode", UNPOOL)
@pytest.mark.parametrize("name", REPLICAS)
def test_replica(name, mode):
    """Each value goes to the place that a loop over its window finds, in raster order."""
    function, windows = REPLICAS[name]
    pixels = torch.randn(1, 2, 7, 8).double()
    signal, net = given(function, pixels)
    layer = pooling.MaxPool(windows)
    same(layer.up(pixels[0].numpy()), function(pixels)[0])
    (expected,) = layer.down(signal[0].numpy(), UNPOOL[mode])
    assert len(set(layer.switches.values())) < len(layer.switches), "no place was chosen twice"
    same(below(net, pixels, UNPOOL[mode])[0], expected)


OVERLAPPING = {
    "overlapping max_pool2d": lambda x: F.max_pool2d(x, (2, 3), (1, 2), ceil_mode=True),
    "overlapping max_pool2d with switches": lambda x: F.max_pool2d(x, 2, 1, return_indices=True)[0],
    "overlapping max_pool1d": lambda x: F.max_pool1d(x.flatten(2), 3, stride=1, padding=1),
    "overlapping max_pool3d": lambda x: F.max_pool3d(x.unsqueeze(1), (2, 2, 2), 1),
    "overlapping adaptive_max_pool2d": lambda x: F.adaptive_max_pool2d(x, (3, 4)),
}


@pytest.mark.parametrize("name", OVERLAPPING)
def test_assignment_in_every_kind_of_max_pool(name):
    """By the gradients of the single values: where does each go, and which of them arrived last, or is largest?"""
    pixels = torch.randn(1, 2, 4, 5).double()
    function = OVERLAPPING[name]
    signal, net = given(function, pixels)
    x = pixels.clone().requires_grad_()
    places = torch.stack([torch.autograd.grad(v, x, retain_graph=True)[0] for v in function(x).flatten()])
    last, largest = torch.zeros(2, *pixels.shape).double()
    for value, place in zip(signal.flatten(), places.bool(), strict=True):
        last[place] = value
        largest[place] = value if value.abs() > largest[place].abs() else largest[place]
    added = (places * signal.view(-1, 1, 1, 1, 1)).sum(0)
    assert (places.sum(0) > 1).any(), "no window shares its switch with another"
    for mode, expected in {"add": added, "assign-last": last, "assign-largest": largest}.items():
        same(below(net, pixels, UNPOOL[mode]), expected)


def test_the_three_modes_agree_where_windows_do_not_overlap():
    pixels = torch.randn(1, 3, 7, 8).double()
    net = given(lambda x: F.max_pool2d(x, 2, padding=1), pixels)[1]
    ways = [below(net, pixels, rules) for rules in (*UNPOOL.values(), GRADIENT)]
    for way in ways[1:]:
        same_bits(ways[0], way)


@pytest.mark.parametrize("name", [*MAXIMA, *OVERLAPPING])
def test_values_are_the_models_bit_for_bit(name):
    pixels = torch.randn(2, 2, 4, 6).double()
    net = given((MAXIMA | OVERLAPPING)[name], pixels)[1]
    expected = net(pixels)
    for rules in (*UNPOOL.values(), TRANSPOSE):
        same_bits(values(net, pixels, rules), expected)


def test_pixels_that_no_window_chose_get_nothing():
    pixels = torch.randn(1, 1, 6, 6).double()
    net = capture(Down(lambda x: F.max_pool2d(x, 3, 3), [1.0, 1.0, 1.0, 1.0]), pixels)
    found = below(net, pixels, DECONVNET)
    assert sum(bool(found[place]) for place in every_place(found.shape)) == 4
    differ(found, pixels)
