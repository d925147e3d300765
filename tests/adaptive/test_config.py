"""Configurations: the sizes of the paper's network, and what is no layer, no network and no learning."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from backlight.adaptive import PRESETS, AdaptiveConfig, Block, LayerConfig, Learning
from backlight.errors import BadInputError
from backlight.geometry import Axis


def test_sizes_of_the_papers_network() -> None:
    paper = PRESETS["paper"]
    counts = [
        int(np.prod(shape) + np.prod(pooled))
        for shape, pooled in zip(paper.shapes(), paper.pooled_shapes(), strict=True)
    ]
    assert counts == [378_560, 178_200, 71_650, 35_625]
    assert [paper.receptive_field(layer).size for layer in (1, 2, 3, 4)] == [(n, n) for n in (7, 27, 87, 267)]
    assert [paper.inputs(layer) for layer in (1, 2, 3, 4)] == [1, 5, 25, 50]


@pytest.mark.parametrize(
    "changes, text",
    [
        ({"maps": 0}, "at least 1 map, a filter of at least 1 pixel and a positive weight"),
        ({"filter": 0}, "got 2, 0 and 1.0"),
        ({"weight": 0.0}, "got 2, 7 and 0.0"),
        ({"weight": float("nan")}, "got 2, 7 and nan"),
        ({"weight": float("inf")}, "got 2, 7 and inf"),
        ({"step": 0.0}, "a step must be positive, got 0.0; None chooses one"),
    ],
)
def test_what_is_no_layer_is_refused(changes: dict[str, float], text: str) -> None:
    with pytest.raises(BadInputError, match=text):
        LayerConfig(**({"maps": 2} | changes))  # type: ignore[arg-type]


def test_what_is_no_network_is_refused(untyped: None) -> None:
    layer = LayerConfig(2, filter=5)
    with pytest.raises(BadInputError, match="at least 1 layer, 1 or 3 channels and at least 1 step"):
        AdaptiveConfig(())
    with pytest.raises(BadInputError, match="got 1, 2 and 10"):
        AdaptiveConfig((layer,), channels=2)
    with pytest.raises(BadInputError, match="`unit` must be 'filter' or 'plane', got 'map'"):
        AdaptiveConfig((layer,), unit="map")  # type: ignore[arg-type]
    with pytest.raises(BadInputError, match="images of 4x9 are smaller than its filters of 5x5"):
        AdaptiveConfig((layer,), size=(4, 9))
    with pytest.raises(BadInputError, match="give maps of 3x3 below layer 2, are smaller than its filters"):
        AdaptiveConfig((layer, layer), size=(5, 5))


@pytest.mark.parametrize(
    "changes",
    [{"epochs": 0}, {"cg_steps": 0}, {"batch": 0}, {"sample": 0}, {"seed": -1}, {"memory_bytes": -1}],
    ids=str,
)
def test_what_is_no_learning_is_refused(changes: dict[str, int]) -> None:
    with pytest.raises(
        BadInputError, match="epochs, CG steps, batch and sample must be at least 1, the seed"
    ):
        Learning(**changes)


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_a_first_share_of_blocks_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(BadInputError, match="first share of blocks must be above 0 and at most 1, got"):
        Learning(first_share=share)


def test_a_layer_that_there_is_not_is_refused() -> None:
    paper = PRESETS["paper"]
    assert [paper.check_layer(layer) for layer in (1, 4)] == [1, 4]
    for layer in (0, 5):
        with pytest.raises(
            BadInputError, match=f"layer {layer} is out of range for a network of 4 layers, from 1"
        ):
            paper.check_layer(layer)


def test_shapes_follow_the_size_of_the_images_and_the_last_block_of_a_map_may_be_cut() -> None:
    config = AdaptiveConfig(
        (LayerConfig(4, filter=3, block=Block(2, 3, 3)), LayerConfig(5, filter=2)), channels=3, size=(9, 8)
    )
    assert config.shapes((6, 7)) == [(4, 8, 9), (5, 5, 4)]
    assert config.pooled_shapes((6, 7))[0] == (
        2,
        4,
        3,
    )  # 4 maps in threes, 8 rows in twos, 9 columns in threes
    assert config.shapes() == config.shapes((9, 8)) != config.shapes((6, 7))
    assert [config.inputs(layer) for layer in (1, 2)] == [3, 2]


def test_a_receptive_field_begins_before_the_position_itself() -> None:
    """*Convention*: an activation paints on its own pixel and those before it, since maps are larger than images."""
    config = AdaptiveConfig(
        (LayerConfig(4, filter=3, block=Block(2, 3, 2)), LayerConfig(5, filter=2)), size=(9, 8)
    )
    first, second = config.receptive_field(1), config.receptive_field(2)
    assert (first.rows, first.cols) == (Axis(3, Fraction(1), -2), Axis(3, Fraction(1), -2))
    # 2 positions of 2 x 3 blocks, then the filter of layer 1
    assert (second.rows, second.cols) == (Axis(6, Fraction(2), -4), Axis(8, Fraction(3), -5))


def test_a_training_depends_on_all_but_the_batch_and_the_memory() -> None:
    plain = Learning(epochs=3, seed=2)
    assert replace(plain, batch=5, memory_bytes=1 << 20).essence == plain.essence
    for changes in ({"epochs": 4}, {"cg_steps": 3}, {"seed": 3}, {"first_share": 0.5}, {"sample": 4}):
        assert replace(plain, **changes).essence != plain.essence  # type: ignore[arg-type]
