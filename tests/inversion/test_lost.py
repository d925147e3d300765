"""What is lost: where restarts of equal error differ, on codes that determine one half of the image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from backlight import Network, Preprocessing, capture
from backlight.errors import BadInputError
from backlight.inversion import RECIPES, Inversion, InversionConfig, Lost, Recipe, Stage, figure, invert, lost
from backlight.inversion.optimisers import Adam
from backlight.inversion.plot import draw
from backlight.inversion.priors import OutOfRange

SIDE = 8
HALF = SIDE // 2


class UpperHalf(nn.Module):
    """A layer that mixes the upper half of the image by an orthogonal matrix, and never sees the lower half."""

    def __init__(self) -> None:
        super().__init__()
        n = 3 * HALF * SIDE
        self.inner = nn.Linear(n, n, bias=False)
        self.inner.weight = nn.Parameter(torch.linalg.qr(torch.randn(n, n, dtype=torch.float64))[0])

    def forward(self, x: Tensor) -> Tensor:
        """Return the code of the upper half, (n, 96)."""
        return self.inner(x[:, :, :HALF].flatten(1))


@pytest.fixture
def net() -> Network:
    """Return the network that sees one half, with colours that pictures can show."""
    preprocessing = Preprocessing(None, (SIDE, SIDE), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    return capture(UpperHalf(), torch.zeros(1, 3, SIDE, SIDE, dtype=torch.float64), preprocessing)


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> str:
    """Add a recipe whose prior says nothing of values inside the range."""
    low, high = (-127.5,) * 3, (127.5,) * 3
    monkeypatch.setitem(
        RECIPES,
        "plain",
        lambda place, strength: Recipe(
            "plain", 1.0, (OutOfRange(1e-3, low, high),), (Stage(Adam(8.0), 400),), "uniform", 46.0
        ),
    )
    return "plain"


def inverted(net: Network, recipe: str, restarts: int = 4) -> Inversion:
    image = torch.rand(3, SIDE, SIDE, dtype=torch.float64) * 2 - 1
    return invert(net, image, "inner", InversionConfig(recipe, restarts=restarts))


def test_restarts_agree_where_the_code_determines_the_pixel_and_differ_where_it_does_not(
    net: Network, plain: str
) -> None:
    found = inverted(net, plain)
    own = lost(found, tolerance=10.0)
    assert own.restarts == (0, 1, 2, 3)
    assert own.deviation.shape == (SIDE, SIDE)
    assert own.deviation[:HALF].max() <= 1.0  # a grey level, by rounding
    assert own.deviation[HALF:].min() > 5
    assert np.abs(own.mean[:HALF].astype(int) - found.original[:HALF]).max() <= 1
    assert own.picture[:HALF].max() < 10 < own.picture[HALF:].min()


def test_the_deviation_is_that_of_plain_loops(net: Network, plain: str) -> None:
    found = inverted(net, plain, restarts=3)
    own = lost(found, tolerance=10.0)
    for row in range(SIDE):
        for col in range(SIDE):
            variances = []
            for colour in range(3):
                values = [float(picture[row, col, colour]) for picture in found.pictures]
                mean = sum(values) / 3
                variances.append(sum((value - mean) ** 2 for value in values) / 2)
                assert abs(own.mean[row, col, colour] - mean) <= 0.5
            assert own.deviation[row, col] == pytest.approx((sum(variances) / 3) ** 0.5)
    assert own.level == pytest.approx(np.square(own.deviation).mean() ** 0.5)


def test_only_restarts_of_equal_error_count(net: Network, plain: str) -> None:
    found = inverted(net, plain)
    errors = np.array([0.1, 0.111, 0.3, 0.1])
    found = replace(found, picture_goals=errors**2, goals=errors[::-1] ** 2)  # what is seen counts
    assert lost(found, 0.2).restarts == (0, 1, 3)
    assert lost(found, 0.1).restarts == (0, 3)
    assert lost(found, 2.0).restarts == (0, 1, 2, 3)
    with pytest.raises(BadInputError, match="the tolerance must be at least 0, got -1"):
        lost(found, -1.0)


def test_what_cannot_show_it_is_refused(net: Network, plain: str) -> None:
    alone = inverted(net, plain, restarts=1)
    with pytest.raises(
        BadInputError, match=r"at least 2 restarts of equal error, but 1 of 1 .* more restarts"
    ):
        lost(alone)
    with pytest.raises(BadInputError, match="matches no code, so it has no error"):
        lost(replace(alone, goal="caricature"))


def test_the_figure_shows_the_mean_and_the_deviation_after_the_restarts(net: Network, plain: str) -> None:
    errors = np.array([0.1, 0.1, 0.1])
    found = replace(inverted(net, plain, restarts=3), picture_goals=errors**2)
    values = np.asarray(figure([found])).astype(int)
    blank = np.asarray(figure([replace(found, picture_goals=np.array([0.1, 0.9, 0.9]) ** 2)])).astype(int)
    expected = lost(found)
    factor = 160 // SIDE
    for picture in (expected.mean, expected.picture):
        enlarged = picture.repeat(factor, 0).repeat(factor, 1)
        assert contains(values, enlarged)
        assert not contains(blank, enlarged)  # where no two have the same error


def contains(page: np.ndarray, picture: np.ndarray) -> bool:
    """Return whether a picture lies anywhere in a page."""
    height, width = picture.shape[:2]
    corners = np.argwhere((page[: -height + 1, : -width + 1] == picture[0, 0]).all(2))
    return any(
        np.array_equal(page[top : top + height, left : left + width], picture) for top, left in corners
    )


@pytest.mark.parametrize("n_equal", [1, 3])
def test_the_plot_has_both_only_where_restarts_compare(net: Network, plain: str, n_equal: int) -> None:
    errors = np.array([0.1, *[0.1 if n_equal == 3 else 0.9] * 2])
    found = replace(inverted(net, plain, restarts=3), picture_goals=errors**2)
    titles = [axes.get_title() for axes in draw(found).axes]
    assert ("mean of 3 restarts" in titles) == (n_equal == 3)
    assert ("how they differ: lost where bright" in titles) == (n_equal == 3)


def test_lost_is_what_it_says() -> None:
    own = Lost((0, 1), np.zeros((1, 2, 3), np.uint8), np.array([[0.0, 68.9]]))
    assert own.picture[0].tolist() == [[0] * 3, [255] * 3]
