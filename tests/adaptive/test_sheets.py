"""Sheets: panels stand in rows at one size, and zero is grey."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backlight.adaptive.sheets import GAP, Panel, Row, framed, pixels, sheet


def test_panels_stand_in_rows_at_one_size_and_zero_is_grey() -> None:
    zero, ramp = np.zeros((40, 40, 1)), np.linspace(-1, 1, 1600).reshape(40, 40, 1)
    rows = [
        Row("first", [Panel(zero, "a"), Panel(ramp, "b", "0.5")]),
        Row("", [Panel(ramp, "c")]),
    ]
    pixels = np.asarray(sheet(rows, "Title", "subtitle", "legend"))
    grey = np.argwhere((pixels == 128).all(2))
    top, left = grey.min(0)
    assert (pixels[top : top + 198, left : left + 198] == 128).all()
    assert pixels.shape[1] == 2 * 24 + 2 * 200 + GAP


def test_many_panels_stay_large_enough_to_see() -> None:
    row = Row("", [Panel(np.ones((40, 40, 1)), str(i)) for i in range(12)])
    assert sheet([row], "", "", "").width == 2 * 24 + 12 * 128 + 11 * GAP


def test_an_image_of_a_network_is_drawn_with_its_channels_last() -> None:
    image = torch.arange(24.0).view(3, 2, 4).requires_grad_()
    found = pixels(image)
    assert found.shape == (2, 4, 3)
    assert found[1, 2].tolist() == [6.0, 14.0, 22.0]


def test_a_panel_is_framed_at_its_size_below_its_label() -> None:
    drawn = framed(Panel(np.zeros((20, 10, 1)), "a"), 102)
    grey = np.argwhere((np.asarray(drawn) == 128).all(2))
    height, width = grey.max(0) - grey.min(0) + 1
    assert (height, width) == (100, 50)
    assert drawn.height > 102


@pytest.mark.parametrize("factor", [1, 4])
def test_a_reference_sets_the_scale_of_a_panel(factor: int) -> None:
    values = np.full((40, 40, 1), 0.25)
    values[0, 0] = -0.25
    reference = None if factor == 1 else factor * values
    drawn = np.asarray(framed(Panel(values, "", reference=reference), 42))
    brightness = int(drawn[-10, 20, 0]) - 128
    assert brightness > 120 if factor == 1 else 25 <= brightness <= 40
