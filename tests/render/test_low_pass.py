"""Low-pass: averages over a box, as written in plain loops, and how large the box is."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from backlight.render import box_sides, low_pass


def replica(values: np.ndarray, sides: tuple[int, int]) -> np.ndarray:
    """Return the mean over a box around each pixel; an even side reaches one further up or left."""
    result = np.zeros_like(values)
    n_channels, height, width = values.shape
    for channel in range(n_channels):
        for row in range(height):
            for col in range(width):
                for i in range(row - sides[0] // 2, row - sides[0] // 2 + sides[0]):
                    for j in range(col - sides[1] // 2, col - sides[1] // 2 + sides[1]):
                        if 0 <= i < height and 0 <= j < width:
                            result[channel, row, col] += values[channel, i, j]
    return result / (sides[0] * sides[1])


@pytest.mark.parametrize("sides", [(1, 1), (2, 3), (4, 1), (3, 2), (9, 8)])
def test_a_low_pass_is_its_replica(sides: tuple[int, int]) -> None:
    values = np.random.default_rng(0).normal(size=(3, 6, 7))
    np.testing.assert_allclose(low_pass(values, sides), replica(values, sides), atol=1e-12)


def test_a_checkerboard_vanishes_inside() -> None:
    rows, cols = np.ogrid[:6, :6]
    board = np.where((rows + cols) % 2, -1.0, 1.0)[None]
    assert np.abs(low_pass(board, (2, 2))[:, 1:, 1:]).max() < 1e-12


def test_a_box_is_half_a_stride_and_at_least_a_pixel() -> None:
    assert box_sides((Fraction(8), Fraction(4))) == (4, 2)
    assert box_sides((Fraction(1, 2), Fraction(0))) == (1, 1)
    assert box_sides((5.0, 7.0)) == (2, 4)  # halves go to the even number
    assert box_sides((5.0, 7.0), 1.0) == (5, 7)
