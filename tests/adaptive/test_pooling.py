"""3-D pooling: equal to its replica in loops, switches and their modes, U = P', what a block keeps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from backlight.adaptive import SWITCH_MODES, Block, SwitchMode, Unpooling, pool
from backlight.errors import BadInputError
from replicas import adaptive as replica
from replicas.compare import differ, inner, same, same_bits

SHAPES = st.tuples(st.integers(1, 7), st.integers(1, 8), st.integers(1, 8))
BLOCKS = st.builds(Block, st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))
SEEDS = st.integers(0, 1000)
CUT = Block(3, 2, 2), (5, 7, 5)  # cut at the bottom, at the right and at the last map


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def sizes(block: Block) -> tuple[int, int, int]:
    return block.maps, block.rows, block.cols


@given(SHAPES, BLOCKS, SEEDS, st.booleans())
def test_pooling_equals_its_replica(
    shape: tuple[int, int, int], block: Block, seed: int, has_ties: bool
) -> None:
    z = noise(2, *shape, seed=seed)
    z = (2 * z).round() if has_ties else z
    values, switches = pool(z, block)
    assert tuple(values.shape[1:]) == tuple(switches.shape[1:]) == block.pooled(*shape)
    for own, value, switch in zip(z.numpy(), values.numpy(), switches.numpy(), strict=True):
        expected, winners = replica.pool(own, sizes(block))
        assert np.array_equal(value, expected)
        assert {cell: replica.switch(place, sizes(block)) for cell, place in winners.items()} == dict(
            np.ndenumerate(switch)
        )


@given(SHAPES, BLOCKS, SEEDS, st.sampled_from(SWITCH_MODES))
def test_unpooling_equals_its_replica_in_all_modes(
    shape: tuple[int, int, int], block: Block, seed: int, mode: SwitchMode
) -> None:
    z = noise(2, *shape, seed=seed)
    _, switches = pool(z, block)
    pooled = noise(*switches.shape, seed=seed + 1)
    maps = Unpooling(switches, block, shape, mode)(pooled)
    for own, value, found in zip(z.numpy(), pooled.numpy(), maps, strict=True):
        _, winners = replica.pool(own, sizes(block))
        same(found, replica.unpool(value, winners, shape, sizes(block), mode))


@given(SHAPES, BLOCKS, SEEDS, st.sampled_from(SWITCH_MODES))
def test_unpooling_is_the_adjoint_of_picking(
    shape: tuple[int, int, int], block: Block, seed: int, mode: SwitchMode
) -> None:
    _, switches = pool(noise(2, *shape, seed=seed), block)
    unpool = Unpooling(switches, block, shape, mode)
    pooled, maps = noise(*switches.shape, seed=seed + 1), noise(2, *shape, seed=seed + 2)
    assert inner(unpool(pooled), maps) == pytest.approx(
        inner(pooled, unpool.adjoint(maps)), rel=1e-12, abs=1e-12
    )


@given(SHAPES, BLOCKS, SEEDS)
def test_at_most_one_value_of_a_block_is_left_and_it_is_the_strongest(
    shape: tuple[int, int, int], block: Block, seed: int
) -> None:
    z = noise(1, *shape, seed=seed)
    values, switches = pool(z, block)
    unpool = Unpooling(switches, block, shape)
    kept = unpool(values)[0].numpy()
    for _, places in replica.blocks(shape, sizes(block)):
        left = [kept[place] for place in places if kept[place] != 0]
        assert left == [max((float(z[0][place]) for place in places), key=abs)]
    same_bits(unpool.adjoint(z), values)  # P with the same switches finds them again


def test_signs_are_kept_and_magnitude_counts() -> None:
    z = torch.tensor([[[[1.0, -3.0], [2.0, 0.5]]]])
    values, switches = pool(z, Block(2, 2))
    assert (float(values), int(switches)) == (-3.0, 1)


@pytest.mark.parametrize(
    "equal, first",
    [
        (((0, 1, 1), (1, 0, 0)), (0, 1, 1)),  # map before row
        (((1, 0, 1), (1, 1, 0)), (1, 0, 1)),  # row before column
        (((1, 1, 0), (1, 1, 1)), (1, 1, 0)),
    ],
)
@pytest.mark.parametrize("signs", [(2.0, 2.0), (-2.0, 2.0), (2.0, -2.0)])
def test_of_equal_magnitudes_the_first_by_map_row_column_counts(
    equal: tuple[tuple[int, ...], ...], first: tuple[int, ...], signs: tuple[float, float]
) -> None:
    z = torch.ones(1, 2, 2, 2)
    for place, sign in zip(equal, signs, strict=True):
        z[0][place] = sign
    values, switches = pool(z, Block(2, 2, 2))
    assert float(values) == signs[0]
    assert int(switches) == 4 * first[0] + 2 * first[1] + first[2]


def test_modes_differ_where_their_switches_do() -> None:
    block, shape = CUT
    _, switches = pool(noise(1, *shape), block)
    pooled = noise(*switches.shape, seed=1)
    maps = {mode: Unpooling(switches, block, shape, mode)(pooled) for mode in SWITCH_MODES}
    for i, one in enumerate(SWITCH_MODES):
        for other in SWITCH_MODES[i + 1 :]:
            differ(maps[one], maps[other])


def test_the_middle_of_a_block_is_rounded_down_and_of_a_cut_one_of_what_is_left() -> None:
    block, shape = Block(4, 3, 2), (3, 5, 5)
    switches = torch.zeros(1, *block.pooled(*shape), dtype=torch.uint8)
    maps = Unpooling(switches, block, shape, "centre")(torch.ones(switches.shape))
    assert [tuple(place) for place in maps[0].nonzero().tolist()] == [
        (k, row, col) for k in (0, 2) for row in (1, 4) for col in (1, 3)
    ]


@pytest.mark.parametrize("mode", SWITCH_MODES)
def test_a_block_of_one_is_the_identity(mode: SwitchMode) -> None:
    z = noise(2, 3, 4, 5)
    values, switches = pool(z, Block())
    same_bits(values, z)
    unpool = Unpooling(switches, Block(), (3, 4, 5), mode)
    same_bits(unpool(values), z)
    same_bits(unpool.adjoint(z), z)


def test_the_largest_block_has_switches_of_one_byte() -> None:
    z = torch.zeros(1, 4, 8, 8)
    z[0, 3, 7, 7] = -1
    values, switches = pool(z, Block(8, 8, 4))
    assert (float(values), int(switches)) == (-1.0, 255)


@pytest.mark.parametrize(
    "rows, cols, maps", [(0, 1, 1), (1, 0, 1), (1, 1, 0), (-2, 1, 1), (8, 8, 5), (257, 1, 1)]
)
def test_what_is_no_block_is_refused(rows: int, cols: int, maps: int) -> None:
    with pytest.raises(BadInputError, match=f"at most 256 places, got {rows}x{cols}x{maps}"):
        Block(rows, cols, maps)


def test_unknown_modes_and_switches_of_another_shape_are_refused(untyped: None) -> None:
    block, shape = CUT
    _, switches = pool(noise(1, *shape), block)
    with pytest.raises(
        BadInputError,
        match=r"unknown use of switches 'none'; known are full, position-only, map-only, centre, average",
    ):
        Unpooling(switches, block, shape, "none")  # type: ignore[arg-type]
    with pytest.raises(BadInputError, match=r"must have the shape \(3, 3, 4\), got \(3, 3, 3\)"):
        Unpooling(switches, block, (5, 7, 7))
