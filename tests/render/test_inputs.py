"""Inputs of a network as pictures."""

from __future__ import annotations

import numpy as np
import pytest

from backlight.render import draw_input

COLOURS = np.random.default_rng(0).random((3, 4, 5))
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)


def test_mean_and_standard_deviation_are_undone() -> None:
    shown = draw_input(
        (COLOURS - np.array(MEAN)[:, None, None]) / np.array(STD)[:, None, None], normalised=(MEAN, STD)
    )
    np.testing.assert_array_equal(shown, np.rint(255 * np.moveaxis(COLOURS, 0, 2)))
    beyond = draw_input(np.full((1, 1, 2), [[[-9.0, 9.0]]]), normalised=((0.5,), (0.5,)))
    assert beyond[0, :, 0].tolist() == [0, 255]


def test_an_input_of_an_unknown_scale_is_stretched_to_black_and_white() -> None:
    values = 7 * COLOURS - 2
    shown = draw_input(values)
    assert (shown.min(), shown.max()) == (0, 255)
    beside = draw_input(values[:, :2, :2], like=values)
    np.testing.assert_array_equal(beside, shown[:2, :2])
    assert (draw_input(np.zeros((1, 2, 2))) == 128).all()


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_channels_that_are_no_colours_are_shown_by_their_mean(channels: int) -> None:
    values = np.random.default_rng(1).random((channels, 4, 5))
    shown = draw_input(values)
    assert shown.shape == (4, 5, 3)
    np.testing.assert_array_equal(shown, draw_input(values.mean(0, keepdims=True)))
