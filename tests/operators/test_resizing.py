"""Resizing: the transposed matrix of interpolation weights, each axis by itself; shuffles and patches by places."""

from itertools import product
from math import floor

import numpy as np
import pytest
import torch.nn.functional as F
from torch import nn

from backlight.operators.ruleset import DECONVNET
from replicas.heads import Cases, check_replica
from replicas.linear import RULES, check_adjoint, check_classes
from replicas.moving import moves

LAYERS = {
    "unfold and fold": nn.Sequential(
        nn.Unfold(3, stride=2, padding=1), nn.Fold((6, 8), (3, 3), stride=(2, 2), padding=1)
    ),
    "upsample nearest": lambda x: F.interpolate(x, size=(11, 9)),
    "upsample nearest-exact": lambda x: F.interpolate(x, size=(11, 9), mode="nearest-exact"),
    "upsample bilinear": lambda x: F.interpolate(x, scale_factor=1.7, mode="bilinear"),
    "upsample bilinear, corners": lambda x: F.interpolate(
        x, size=(9, 11), mode="bilinear", align_corners=True
    ),
    "upsample bicubic": lambda x: F.interpolate(x, scale_factor=2, mode="bicubic"),
    "downsample, antialias": lambda x: F.interpolate(x, size=(4, 3), mode="bilinear", antialias=True),
    "pixel_shuffle": lambda x: F.pixel_shuffle(x, 2),
    "pixel_unshuffle": lambda x: F.pixel_unshuffle(x[..., :6], 3),
    "channel_shuffle": lambda x: F.channel_shuffle(x, 2),
}


def centre(before, after):
    """Return where the centre of a new cell lies among the old ones, each with its centre at a whole number."""
    return lambda i: (i + 0.5) * before / after - 0.5


def hat(distance):
    return max(0.0, 1 - abs(distance))


def cubic(distance, a=-0.75):
    """*Source*: Keys (1981); torch's a."""
    d = abs(distance)
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * (d**3 - 5 * d**2 + 8 * d - 4) if d < 2 else 0.0


def weights(before, after, place, weigh, reach=1):
    """Return (after, before) interpolation weights; the cells at the edges stand for all beyond them."""
    matrix = np.zeros((after, before))
    for i in range(after):
        for j in range(floor(place(i)) - reach + 1, floor(place(i)) + reach + 1):
            matrix[i, min(max(j, 0), before - 1)] += weigh(place(i) - j)
    return matrix


def smoothed(before, after):
    """Return (after, before) weights of a hat as wide as the new cells, over cells of the map alone."""
    matrix = np.zeros((after, before))
    for i, j in np.ndindex(after, before):
        matrix[i, j] = hat((centre(before, after)(i) - j) * after / before)
    return matrix / matrix.sum(1, keepdims=True)


def by_matrices(rows, cols):
    return lambda x, r: np.einsum("ih,jw,ncij->nchw", rows, cols, r)


def nearest(shift):
    rows, cols = ([floor((i + shift) * a / b) for i in range(b)] for a, b in ((6, 11), (7, 9)))
    return moves(lambda places: places[:, :, rows][..., cols])


def in_patches(x, r):
    """A cell of both maps comes back once for every patch that it lies in."""
    below = np.zeros(x.shape)
    for row, col in product(range(3), range(4)):
        for i, j in product(range(row * 2 - 1, row * 2 + 2), range(col * 2 - 1, col * 2 + 2)):
            if 0 <= i < 6 and 0 <= j < 7:
                below[:, :, i, j] += r[:, :, i, j]
    return below


def shuffled(places):
    found = np.empty((len(places), 1, 12, 14), int)
    for a, b in product(range(2), range(2)):
        found[:, 0, a::2, b::2] = places[:, 2 * a + b]
    return found


def unshuffled(places):
    parts = product(range(4), range(3), range(3))
    return np.stack([places[:, c, a::3, b:6:3] for c, a, b in parts], 1)


def corners(before, after):
    return lambda i: i * (before - 1) / (after - 1)


REPLICAS = {
    "unfold and fold": in_patches,
    "upsample nearest": nearest(0),
    "upsample nearest-exact": nearest(0.5),
    "upsample bilinear": by_matrices(
        weights(6, 10, centre(1, 1.7), hat), weights(7, 11, centre(1, 1.7), hat)
    ),
    "upsample bilinear, corners": by_matrices(
        weights(6, 9, corners(6, 9), hat), weights(7, 11, corners(7, 11), hat)
    ),
    "upsample bicubic": by_matrices(
        weights(6, 12, centre(1, 2), cubic, reach=2), weights(7, 14, centre(1, 2), cubic, reach=2)
    ),
    "downsample, antialias": by_matrices(smoothed(6, 4), smoothed(7, 3)),
    "pixel_shuffle": moves(shuffled),
    "pixel_unshuffle": moves(unshuffled),
    "channel_shuffle": moves(lambda places: places[:, [0, 2, 1, 3]]),
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
