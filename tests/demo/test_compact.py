from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from backlight_demo.compact import decode, encode, read_state

weights = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=4, max_side=5),
    elements=st.floats(-8, 8, width=16).map(np.float32),
)


def half_a_step(scale: np.ndarray, like: np.ndarray) -> np.ndarray:
    return scale.reshape(-1, *[1] * (like.ndim - 1)) / 2


@given(weights)
def test_a_decoded_weight_is_off_by_half_a_step_at_most(weight: np.ndarray) -> None:
    steps, scale = encode(weight)
    error = np.abs(decode(steps, scale).astype(np.float64) - weight)
    float_noise = 1e-6 * np.abs(weight)
    np.testing.assert_array_less(error, half_a_step(scale, weight) + float_noise + 1e-30)


@given(weights)
def test_decoded_weights_encode_to_the_same_steps(weight: np.ndarray) -> None:
    steps, scale = encode(weight)
    again, scale_again = encode(decode(steps, scale))
    np.testing.assert_array_equal(again, steps)
    np.testing.assert_allclose(scale_again, scale, rtol=1e-6)


def test_nothing_is_clipped_and_each_channel_has_its_own_step() -> None:
    steps, scale = encode(np.float32([[-4.0, 1.0], [0.5, -0.25]]))
    assert steps.tolist() == [[-127, 32], [127, -64]]
    np.testing.assert_allclose(scale, [4 / 127, 0.5 / 127], rtol=1e-6)


def test_a_channel_of_zeros_stays_zero() -> None:
    steps, scale = encode(np.zeros((1, 3), np.float32))
    assert scale.tolist() == [1]
    assert decode(steps, scale).tolist() == [[0, 0, 0]]


def test_halves_round_to_even() -> None:
    steps, _ = encode(np.float32([[127.0, 0.5, 1.5, 2.5]]))
    assert steps.tolist() == [[127, 0, 2, 2]]


def test_read_state_joins_steps_with_their_scale_and_leaves_the_rest(tmp_path: Path) -> None:
    arrays = {
        "a.weight": np.int8([[1, -2]]),
        "a.weight.scale": np.float32([0.5]),
        "a.bias": np.float16([0.25]),
    }
    np.savez_compressed(tmp_path / "weights.npz", **arrays)
    state = read_state(tmp_path / "weights.npz")
    assert state.keys() == {"a.weight", "a.bias"}
    torch.testing.assert_close(state["a.weight"], torch.tensor([[0.5, -1.0]]))
    torch.testing.assert_close(state["a.bias"], torch.tensor([0.25]))


@pytest.mark.parametrize("channels", [1, 3])
def test_the_step_belongs_to_the_first_axis(channels: int) -> None:
    weight = np.arange(1, 1 + channels * channels, dtype=np.float32).reshape(channels, channels)
    assert encode(weight)[1].tolist() == (weight.max(axis=1) / np.float32(127)).tolist()
