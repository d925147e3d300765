"""R and its adjoint: painting and matching against loops, linearity, where a single activation paints."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from backlight.adaptive import AdaptiveConfig, Block, LayerConfig, pool
from backlight.adaptive.operators import Reconstruction, filter_gradient, match, paint
from backlight.geometry import Box
from replicas import adaptive as replica
from replicas.adaptive_nets import DEEP, noise, random_codes, random_filters, whole
from replicas.compare import differ, inner, same

SIZES = [(7, 9), (8, 6), (9, 8), (5, 5)]
CHANNELS = [1, 3, 4, 5]  # up to four maps are painted by phases


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("side", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", CHANNELS)
def test_painting_and_matching_equal_their_replicas(size: tuple[int, int], side: int, channels: int) -> None:
    z, filters = noise(1, 2, *size), noise(2, channels, side, side, seed=1)
    maps = paint(z, filters)
    same(maps[0], replica.paint(z[0].numpy(), filters.numpy()))
    y = noise(*maps.shape, seed=2)
    same(match(y, filters)[0], replica.match(y[0].numpy(), filters.numpy()))


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("side", [1, 2, 5])
@pytest.mark.parametrize("channels", CHANNELS)
def test_matching_is_the_adjoint_of_painting(size: tuple[int, int], side: int, channels: int) -> None:
    z, filters = noise(3, 6, *size), noise(6, channels, side, side, seed=1)
    maps = paint(z, filters)
    y = noise(*maps.shape, seed=2)
    assert inner(maps, y) == pytest.approx(inner(z, match(y, filters)), rel=1e-12)
    assert inner(filter_gradient(y, z, side), filters) == pytest.approx(inner(maps, y), rel=1e-12)


def test_the_gradient_in_the_filters_is_that_of_autograd() -> None:
    z, filters = noise(2, 3, 8, 7), noise(3, 2, 4, 4, seed=1).requires_grad_()
    maps = paint(z, filters)
    y = noise(*maps.shape, seed=2)
    (expected,) = torch.autograd.grad(maps, filters, y)
    same(filter_gradient(y, z, 4), expected)


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_reconstruction_equals_its_replica(layer: int) -> None:
    codes, filters = random_codes(DEEP), random_filters(DEEP)
    shapes, sizes, winners = DEEP.shapes(), [], []
    for own, code in zip(DEEP.layers, codes.layers, strict=True):
        sizes.append((own.block.maps, own.block.rows, own.block.cols))
        winners.append(replica.pool(code.maps[0].numpy(), sizes[-1])[1])
    z = noise(1, *shapes[layer - 1], seed=9)
    expected = replica.reconstruct(z[0].numpy(), [f.numpy() for f in filters[:layer]], winners, shapes, sizes)
    same(whole(DEEP, layer, codes, filters)(z)[0], expected)


@pytest.mark.parametrize("mode", ["full", "position-only", "map-only", "centre", "average"])
def test_the_adjoint_of_three_layers_with_random_switches(mode: str) -> None:
    codes, filters = random_codes(DEEP, 2), random_filters(DEEP)
    r = Reconstruction(filters, codes.below(3, mode))  # type: ignore[arg-type]
    z, y = noise(2, *DEEP.shapes()[2], seed=5), noise(2, 1, *DEEP.size, seed=6)
    assert r(z).shape == y.shape
    assert inner(r(z), y) == pytest.approx(inner(z, r.adjoint(y)), rel=1e-12)


def test_reconstruction_is_linear_for_given_switches_and_depends_on_them() -> None:
    filters, shape = random_filters(DEEP), (2, *DEEP.shapes()[2])
    one, other = noise(*shape, seed=1), noise(*shape, seed=2)
    r, moved = (whole(DEEP, 3, random_codes(DEEP, 2, seed), filters) for seed in (0, 7))
    same(r(2 * one - 3 * other), 2 * r(one) - 3 * r(other))
    differ(moved(one), r(one))


@pytest.mark.parametrize("row, col", [(4, 5), (2, 2), (9, 8)])
def test_an_activation_of_layer_1_paints_its_filter_upright_in_its_receptive_field(
    row: int, col: int
) -> None:
    filters = random_filters(DEEP)
    z = torch.zeros(1, *DEEP.shapes()[0], dtype=torch.float64)
    z[0, 2, row, col] = -1.5
    expected = torch.zeros(DEEP.size, dtype=torch.float64)
    box = DEEP.receptive_field(1).box(row, col)
    assert box == Box(row - 2, col - 2, row + 1, col + 1)
    expected[box.slices()] = -1.5 * filters[0][2, 0]
    same(Reconstruction(filters[:1])(z)[0, 0], expected)


@pytest.mark.parametrize("layer", [2, 3])
def test_what_an_activation_paints_lies_in_its_receptive_field_and_reaches_its_borders(layer: int) -> None:
    config = AdaptiveConfig(
        (
            LayerConfig(2, filter=2, block=Block(2, 3, 2)),
            LayerConfig(2, filter=3, block=Block(2, 2, 2)),
            LayerConfig(1, filter=2, block=Block(2, 2, 1)),
        ),
        size=(30, 34),
        contrast=None,
    )
    filters = tuple(own.abs() + 0.1 for own in random_filters(config))
    rows, cols = (length // 2 for length in config.shapes()[layer - 1][1:])
    z = torch.zeros(1, *config.shapes()[layer - 1], dtype=torch.float64)
    z[0, 0, rows, cols] = 1
    painted = torch.zeros(config.size, dtype=torch.bool)
    for seed in range(60):
        painted |= whole(config, layer, random_codes(config, seed=seed), filters)(z)[0, 0] != 0
    at = painted.nonzero()
    (top, left), (bottom, right) = at.amin(0).tolist(), (at.amax(0) + 1).tolist()
    assert Box(top, left, bottom, right) == config.receptive_field(layer).box(rows, cols)


def test_shapes_are_those_of_the_operators() -> None:
    codes, filters = random_codes(DEEP), random_filters(DEEP)
    y = noise(1, 1, *DEEP.size)
    for layer, shape in enumerate(DEEP.shapes(), start=1):
        assert tuple(whole(DEEP, layer, codes, filters).adjoint(y).shape[1:]) == shape
        assert tuple(codes[layer].pooled.shape[1:]) == DEEP.pooled_shapes()[layer - 1]


def test_the_squared_norm_is_the_largest_squared_singular_value() -> None:
    config = AdaptiveConfig(
        (LayerConfig(2, filter=2, block=Block(2, 2, 2)), LayerConfig(3, filter=2)), size=(5, 4), contrast=None
    )
    codes, filters = random_codes(config, 2), random_filters(config)
    r = whole(config, 2, codes, filters)
    shape = config.shapes()[1]
    n_values = int(np.prod(shape))
    columns = [r(unit.expand(2, *shape)) for unit in torch.eye(n_values).double().view(n_values, *shape)]
    dense = torch.stack([own.flatten(1) for own in columns], 2)
    expected = torch.linalg.matrix_norm(dense, 2).square()
    found, vectors = r.squared_norm(noise(2, *shape, seed=8), 300)
    same(found, expected, 1e-9)
    few, _ = r.squared_norm(noise(2, *shape, seed=8), 3)
    assert (few < expected).all()
    same(r.squared_norm(vectors, 2)[0], expected, 1e-9)  # goes on from the vectors that it gave


def test_the_squared_norm_of_codes_with_one_value_a_block() -> None:
    """Against all choices of a place in each block; power iteration may find a little less, never more."""
    block, size = Block(2, 2, 2), (2, 2)
    config = AdaptiveConfig((LayerConfig(2, filter=2, block=block),), size=size, contrast=None)
    r = whole(config, 1, random_codes(config, 1), random_filters(config))
    shape = config.shapes()[0]
    n_values = int(np.prod(shape))
    dense = torch.stack([r(unit.view(1, *shape)).flatten() for unit in torch.eye(n_values).double()], 1)
    groups = pool(torch.zeros(1, *shape).double(), block)[0].shape[1:]
    everywhere = torch.arange(n_values).view(shape)
    members = [
        everywhere[:, 2 * row : 2 * row + 2, 2 * col : 2 * col + 2].flatten().tolist()
        for row in range(groups[1])
        for col in range(groups[2])
    ]
    choices = [list(own) for own in itertools.product(*members)]
    expected = max(float(torch.linalg.matrix_norm(dense[:, own], 2)) ** 2 for own in choices)
    found, _ = r.squared_norm(noise(1, *shape, seed=8), 100, block)
    assert 0.8 * expected <= float(found[0]) <= expected * (1 + 1e-9)
    assert float(r.squared_norm(noise(1, *shape, seed=8), 100)[0][0]) > 1.2 * expected


def test_the_squared_norm_of_zeros_is_zero() -> None:
    filters = torch.zeros(2, 1, 3, 3)
    assert Reconstruction((filters,)).squared_norm(torch.randn(1, 2, 6, 6), 4)[0].tolist() == [0]
