"""The place of a layer: how much of the image its units see, how far they lie apart, what black and white are."""

from __future__ import annotations

import pytest
from torch import nn

from backlight import Preprocessing, capture
from backlight.inversion.place import Place


def test_the_place_of_a_layer() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 5, 2), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(196, 6))
    net = capture(model, (3, 32, 32))
    first, last = (Place.of(net, net.layer(name)) for name in ("1", "4"))
    assert (first.field, first.stride, first.is_vector) == (7 / 32, 4, False)
    assert (last.field, last.stride, last.is_vector) == (1.0, 4, True)
    assert last.band == 2


@pytest.mark.parametrize(("pixels", "band"), [(51, 0), (59, 0), (67, 1), (131, 1), (163, 2), (227, 2)])
def test_the_bands_of_the_paper_of_2014(pixels: int, band: int) -> None:
    assert Place((3, 227, 227), pixels / 227, False, 4.0).band == band


def test_black_and_white_are_measured_from_the_mean_colour() -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU())
    preprocessing = Preprocessing(None, (8, 8), (0.5, 0.25, 0.75), (0.2, 0.2, 0.2))
    net = capture(model, (3, 8, 8), preprocessing)
    black, white = Place.of(net, net.layer("1")).range
    assert black == pytest.approx((-127.5, -63.75, -191.25))
    assert white == pytest.approx((127.5, 191.25, 63.75))
    assert Place((1, 4, 4), 0.5, False, 1.0).range == ((-127.5,), (127.5,))
