import numpy as np
import pytest

from backlight.errors import BadInputError
from backlight.render import filter_figure
from render.finding import box_of

RNG = np.random.default_rng(0)


def test_filters_are_a_mosaic_each_scaled_by_itself():
    weights = np.zeros((4, 3, 2, 2), np.float32)
    weights[0, 0, 0, 1] = 5
    weights[1, 1, 1, 0] = 0.01
    picture = np.asarray(filter_figure(weights, "filters", columns=2, tile_size=40))
    red, green = box_of(picture, (255, 128, 128)), box_of(picture, (128, 255, 128))
    assert (red.height, red.width) == (green.height, green.width) == (20, 20)
    assert green.top - red.top == 20, "row before column"
    assert green.left - red.left == 40 + 10 - 20


def test_grey_filters_are_drawn_in_grey():
    picture = np.asarray(filter_figure(RNG.standard_normal((3, 1, 5, 5)), "filters", columns=3))
    tile = picture[:, 24 : 24 + 50]
    top = box_of(picture, (255, 255, 255)).top
    assert top == 0
    assert np.ptp(tile.astype(int), axis=2).max() <= 8, "only the words are tinted"


def test_every_filter_has_its_number():
    for size in (4, 40):
        picture = np.asarray(filter_figure(-np.ones((12, 3, 1, 1)), "filters", columns=12, tile_size=size))
        tiles = box_of(picture, (1, 1, 1))
        assert tiles.height == size
        assert (picture[tiles.top : tiles.bottom] == 1).all(2).sum() == 12 * size**2, "no number on a filter"
    below = picture[tiles.bottom : tiles.bottom + 17]
    assert len({below[:, 24 + 50 * i : 64 + 50 * i].tobytes() for i in range(12)}) == 12, "twelve numbers"


def test_filters_over_other_channels_are_refused():
    with pytest.raises(BadInputError, match=r"with c 1 or 3, got \(8, 64, 3, 3\)"):
        filter_figure(np.ones((8, 64, 3, 3)), "filters")
    with pytest.raises(BadInputError, match="must be at least 1 pixel large, got 0"):
        filter_figure(np.ones((8, 3, 3, 3)), "filters", tile_size=0)
