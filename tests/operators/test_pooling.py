"""Pooling: ties, overlapping windows, and the two readings of average pooling; each convention by a small example."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from backlight.network import capture
from backlight.operators.ruleset import DECONVNET, GRADIENT, RuleSet
from replicas.compare import differ, every_place, pull, same, same_bits

UNPOOL = {mode: RuleSet(mode, unpool=mode) for mode in ("add", "assign-largest", "assign-last")}
TRANSPOSE = RuleSet("transpose", average_pool="transpose")


class Down(nn.Module):
    """A function of the pixels, all of whose values a fully connected head multiplies by given numbers."""

    def __init__(self, function, *rows):
        super().__init__()
        self.function = function
        self.head = nn.Linear(len(rows[0]), len(rows), bias=False).double()
        self.head.weight.data = torch.tensor(rows).double()

    def forward(self, x):
        return self.head(self.function(x).flatten(1))


def image(*rows):
    return torch.tensor(rows).double()[None, None]


def arrives(function, pixels, signal, rules, net=None):
    """Return what a signal for the function's values becomes at the pixels, as nested lists."""
    net = net or capture(Down(function, signal), pixels)
    return pull(net, "head", pixels, torch.ones(len(pixels), 1).double(), rules)[1][0, 0].tolist()


MAXIMA = {
    "max_pool2d": lambda x: F.max_pool2d(x, 2),
    "max_pool2d with switches": lambda x: F.max_pool2d(x, 2, return_indices=True)[0],
    "adaptive_max_pool2d": lambda x: F.adaptive_max_pool2d(x, (1, 1)),
    "max_pool3d": lambda x: F.max_pool3d(x, (1, 2, 2)),
    "amax": lambda x: x.amax((2, 3)),
    "amax, the dimensions turned about": lambda x: x.amax((3, 2), keepdim=True),
    "amin": lambda x: x.amin((2, 3)),
    "max over a row": lambda x: x.flatten(2).max(2).values,
    "min over a row": lambda x: x.flatten(2).min(2, keepdim=True)[0],
    "max_pool1d": lambda x: F.max_pool1d(x.flatten(2), 4),
}


@pytest.mark.parametrize("name", MAXIMA)
def test_a_tie_records_the_first_place_in_raster_order(name):
    """*Convention*: and only that one; amax by itself would share the signal out."""
    pixels = image([5.0, 5.0], [5.0, 5.0])
    net = capture(Down(MAXIMA[name], [3.0]), pixels)
    for rules in UNPOOL.values():
        assert arrives(None, pixels, None, rules, net) == [[3, 0], [0, 0]]


def test_a_tie_in_part_of_a_window_and_in_channels_last():
    pixels = image([1.0, 2.0], [2.0, 2.0]).to(memory_format=torch.channels_last)
    for function in (MAXIMA["max_pool2d"], MAXIMA["amax"], MAXIMA["max_pool1d"]):
        assert arrives(function, pixels, [1.0], DECONVNET) == [[0, 1], [0, 0]]


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


def test_overlapping_windows_that_chose_the_same_place():
    """Windows 0..1 and 1..2 both chose the middle; then signals of either order and sign come down."""
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
            below = pull(net, "head", pixels, seed, UNPOOL[mode])[1]
            assert below.flatten().tolist() == [0, middle, 0], (signal, mode)


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
    torch.manual_seed(0)
    pixels, z = torch.randn(2, 1, 3, 4, 5).double()
    signal = torch.randn(select(pixels).numel()).double()
    z.requires_grad_()
    expected = torch.autograd.grad(held(pixels, z), z, signal.view(select(pixels).shape))[0]
    net = capture(Down(select, signal.tolist()), pixels)
    same(pull(net, "head", pixels, torch.ones(1, 1).double(), DECONVNET)[1], expected)


OVERLAPPING = {
    "max_pool2d": lambda x: F.max_pool2d(x, (2, 3), (1, 2), ceil_mode=True),
    "max_pool2d with switches": lambda x: F.max_pool2d(x, 2, 1, return_indices=True)[0],
    "max_pool1d": lambda x: F.max_pool1d(x.flatten(2), 3, stride=1, padding=1),
    "max_pool3d": lambda x: F.max_pool3d(x.unsqueeze(1), (2, 2, 2), 1),
    "adaptive_max_pool2d": lambda x: F.adaptive_max_pool2d(x, (3, 4)),
}


@pytest.mark.parametrize("name", OVERLAPPING)
def test_assignment_in_every_kind_of_max_pool(name):
    """By the gradients of the single values: where does each go, and which of them arrived last, or is largest?"""
    torch.manual_seed(0)
    pixels = torch.randn(1, 2, 4, 5).double()
    function = OVERLAPPING[name]
    signal = torch.randn(function(pixels).numel()).double()
    net = capture(Down(function, signal.tolist()), pixels)
    x = pixels.clone().requires_grad_()
    places = torch.stack([torch.autograd.grad(v, x, retain_graph=True)[0] for v in function(x).flatten()])
    last, largest = torch.zeros(2, *pixels.shape).double()
    for value, place in zip(signal, places.bool(), strict=True):
        last[place] = value
        largest[place] = value if value.abs() > largest[place].abs() else largest[place]
    added = (places * signal.view(-1, 1, 1, 1, 1)).sum(0)
    assert (places.sum(0) > 1).any(), "no window shares its switch with another"
    for mode, expected in {"add": added, "assign-last": last, "assign-largest": largest}.items():
        same(pull(net, "head", pixels, torch.ones(1, 1).double(), UNPOOL[mode])[1], expected)


def test_the_three_modes_agree_where_windows_do_not_overlap():
    pixels = torch.randn(1, 3, 7, 8).double()
    net = capture(Down(lambda x: F.max_pool2d(x, 2, padding=1), torch.randn(3 * 4 * 5).tolist()), pixels)
    ways = [pull(net, "head", pixels, torch.ones(1, 1).double(), rules)[1] for rules in UNPOOL.values()]
    same_bits(ways[0], ways[1])
    same_bits(ways[0], ways[2])
    same_bits(ways[0], pull(net, "head", pixels, torch.ones(1, 1).double(), GRADIENT)[1])


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
    same(pull(net, "head", pixels, torch.ones(1, 1).double(), TRANSPOSE)[1], torch.full((1, 1, 2, 3), 2.0))


def test_a_mean_over_channels_is_no_pooling_and_does_not_fill():
    pixels = torch.randn(1, 4, 1, 1).double()
    net = capture(Down(lambda x: x.mean(1), [8.0]), pixels)
    assert pull(net, "head", pixels, torch.ones(1, 1).double(), DECONVNET)[1].flatten().tolist() == [
        2,
        2,
        2,
        2,
    ]


@pytest.mark.parametrize("name", [*MAXIMA, *OVERLAPPING, *GLOBAL])
def test_values_are_the_models_bit_for_bit(name):
    function = (MAXIMA | OVERLAPPING | GLOBAL)[name]
    pixels = torch.randn(2, 2, 4, 6).double()
    net = capture(Down(function, torch.randn(function(pixels)[0].numel()).tolist()), pixels)
    expected = net(pixels)
    for rules in (*UNPOOL.values(), TRANSPOSE):
        same_bits(pull(net, "head", pixels, torch.ones(2, 1).double(), rules)[0], expected)


def test_pixels_that_no_window_chose_get_nothing():
    pixels = torch.randn(1, 1, 6, 6).double()
    net = capture(Down(lambda x: F.max_pool2d(x, 3, 3), [1.0, 1.0, 1.0, 1.0]), pixels)
    below = pull(net, "head", pixels, torch.ones(1, 1).double(), DECONVNET)[1]
    assert sum(bool(below[place]) for place in every_place(below.shape)) == 4
    differ(below, pixels)
