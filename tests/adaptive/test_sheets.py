"""Sheets: panels stand in rows at one size, and zero is grey."""

from __future__ import annotations

import numpy as np

from backlight.adaptive.sheets import GAP, Panel, Row, sheet


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
