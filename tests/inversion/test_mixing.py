"""Decorrelated colours and the range of a picture: a linear bijection, and a penalty with its gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import backlight_demo
from backlight import Preprocessing, capture
from backlight.errors import BadInputError
from backlight.inversion import InversionConfig, Place, invert
from backlight.inversion.codes import Coder
from backlight.inversion.colours import Colours
from backlight.inversion.mixing import NATURAL_MIXING, mixed, mixing_of
from backlight.inversion.optimisers import Adam, Mixed
from backlight.inversion.priors import OutOfRange
from backlight.inversion.recipes import recipe_for
from backlight.inversion.search import Task, starts
from conftest import captured_small_net

MIXING = torch.tensor(NATURAL_MIXING, dtype=torch.float64)


def test_the_mixing_is_a_linear_bijection() -> None:
    x, y = torch.randn(2, 2, 3, 4, 5, dtype=torch.float64)
    torch.testing.assert_close(mixed(2 * x - 3 * y, MIXING), 2 * mixed(x, MIXING) - 3 * mixed(y, MIXING))
    torch.testing.assert_close(mixed(mixed(x, MIXING), torch.linalg.inv(MIXING)), x)
    assert float(torch.linalg.cond(MIXING)) < 20
    # its adjoint is the transposed matrix
    assert float((mixed(x, MIXING) * y).sum()) == pytest.approx(float((x * mixed(y, MIXING.T)).sum()))


def test_the_constant_is_that_of_the_demos_photographs() -> None:
    files = sorted(backlight_demo.photographs().glob("*.jpg"))
    pixels = np.concatenate(
        [np.asarray(Image.open(file).convert("RGB"))[::4, ::4].reshape(-1, 3) for file in files]
    )
    np.testing.assert_allclose(mixing_of(pixels), NATURAL_MIXING, atol=0.01)


def test_mixing_of_colours_decorrelates_them() -> None:
    values = np.random.default_rng(0).normal(size=(5000, 3)) @ np.array([[3, 1, 0], [1, 2, 1], [0, 1, 5.0]])
    own = np.array(mixing_of(values))
    assert np.square(own).sum() == pytest.approx(3)  # white noise keeps its strength
    assert (own[0] > 0).all()
    apart = np.cov(np.linalg.solve(own, values.T))
    np.testing.assert_allclose(apart, apart[0, 0] * np.eye(3), atol=1e-9 * apart[0, 0])
    lengths = np.square(own).sum(0)
    assert (np.diff(lengths) < 0).all()  # what varies most comes first


def test_steps_in_mixed_colours_are_steps_in_the_coordinates() -> None:
    """x = M z: the same descent written out by hand with z as the variable."""
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    aim = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    scales = torch.tensor([1.0, 20.0, 3.0], dtype=torch.float64).view(1, 3, 1, 1)
    own, plain = Mixed(Adam(0.1), NATURAL_MIXING).start(10), Adam(0.1).start(10)
    z = mixed(x, torch.linalg.inv(MIXING))
    for _ in range(4):
        x = own(x, torch.zeros(2), 2 * scales * (x - aim))
        z = plain(z, torch.zeros(2), mixed(2 * scales * (mixed(z, MIXING) - aim), MIXING.T))
    torch.testing.assert_close(x, mixed(z, MIXING))


def test_the_default_charges_for_what_a_picture_cannot_hold() -> None:
    preprocessing = Preprocessing(None, (32, 32), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    net = captured_small_net(preprocessing)
    colours = Colours.of(net)
    recipe = recipe_for("default", Place.of(net, net.layer("relu1")))
    assert recipe.name == "default"
    assert recipe.bound is None
    prior = recipe.priors[0]
    assert isinstance(prior, OutOfRange)
    both = torch.tensor([0.0, 255.0]).view(1, 1, 1, 2).expand(1, 3, 32, 2) - colours.mean
    assert float(prior(both)[0]) == pytest.approx(0.0, abs=1e-9)  # black and white are free
    over = both + torch.tensor([-4.0, 4.0])
    # a share of 2 of 32 columns is 4 levels outside in all three channels
    assert float(prior(over)[0]) == pytest.approx(3 * 2 / 32, rel=1e-3)
    assert recipe_for("default", Place((1, 8, 8), 0.1, False, 1.0)).priors[0] == OutOfRange(
        1 / (64 * 16), (-127.5,), (127.5,)
    )


@pytest.mark.parametrize("side", [7, 58, 60, 146, 148, 227])
def test_the_weight_of_the_default_has_no_steps(side: int) -> None:
    """It falls smoothly, also where the bands of the other recipes end."""

    def weight(pixels: float) -> float:
        return recipe_for("default", Place((3, 227, 227), pixels / 227, False, 4.0)).weight

    assert 0 < weight(side - 1) - weight(side) <= 5 * 5000 / 227
    assert weight(side) == pytest.approx(30 + 5000 * (1 - side / 227) ** 5)
    assert recipe_for("default", Place((3, 227, 227), 1.0, True, 4.0)).weight == 10
    assert recipe_for("default", Place((3, 227, 227), 1.0, False, 4.0), 7.0).weight == 7


def test_the_start_of_the_default_is_nearly_grey_and_as_strong() -> None:
    net = captured_small_net(Preprocessing(None, (32, 32), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    starts_of = {}
    for name in ("wide", "default"):
        task = Task(Coder(net, "relu1"), "invert", InversionConfig(name))
        starts_of[name] = starts(task, task.recipe, 1)
    own, white = starts_of["default"], starts_of["wide"]
    torch.testing.assert_close(mixed(white, torch.tensor(NATURAL_MIXING)), own)
    assert float(own.std() / white.std()) == pytest.approx(1, abs=0.1)
    assert float(own.std(1).mean()) < 0.6 * float(white.std(1).mean())


@pytest.mark.parametrize("channels", [1, 3])
def test_the_default_inverts_grey_and_coloured_networks(channels: int) -> None:
    torch.manual_seed(0)
    net = capture(nn.Sequential(nn.Conv2d(channels, 12, 3, padding=1)), (channels, 16, 16))
    image = torch.rand(channels, 16, 16) - 0.5
    found = invert(net, image, net.layers[-1], InversionConfig("default"))
    assert found.shown.relative_errors[0] < 0.2
    assert found.terms == ("objective", "range", "variation")


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_other_numbers_of_channels_are_not_mixed(channels: int) -> None:
    x, gradient = torch.randn(2, 1, channels, 3, 3)
    found = Mixed(Adam(1.0), NATURAL_MIXING).start(5)(x, torch.zeros(1), gradient)
    assert torch.equal(found, Adam(1.0).start(5)(x, torch.zeros(1), gradient))


def test_a_range_leaves_what_lies_in_it_alone() -> None:
    prior = OutOfRange(0.5, (-2.0, 0.0, -1.0), (3.0, 1.0, 1.0))
    x = torch.tensor([[[[-2.0, 3.0]], [[0.5, 1.0]], [[-3.0, 2.0]]]], dtype=torch.float64)
    cost, gradient = prior(x)
    assert cost.tolist() == [0.5 * (2.0**2 + 1.0**2)]
    assert gradient.tolist() == [[[[0.0, 0.0]], [[0.0, 0.0]], [[-2.0, 1.0]]]]


def test_the_gradient_of_a_range_equals_finite_differences() -> None:
    prior = OutOfRange(0.7, (-0.5, -0.2, -1.0), (0.3, 0.6, 0.1))
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    cost, gradient = prior(x)
    expected = torch.zeros_like(x)
    for i in range(x.numel()):
        moved = [x.clone(), x.clone()]
        for own, sign in zip(moved, (1, -1), strict=True):
            own.view(-1)[i] += sign * 1e-5
        expected.view(-1)[i] = (prior(moved[0])[0].sum() - prior(moved[1])[0].sum()) / 2e-5
    torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-7)
    assert cost.shape == (2,)
    assert 0 < int((gradient == 0).sum()) < gradient.numel()


@pytest.mark.parametrize(
    ("weight", "low", "high"),
    [(-1.0, (0.0,), (1.0,)), (1.0, (1.0,), (1.0,)), (1.0, (0.0, 0.0), (1.0,))],
)
def test_what_is_no_range_is_refused(weight: float, low: tuple[float, ...], high: tuple[float, ...]) -> None:
    with pytest.raises(BadInputError, match="a range must have a weight of at least 0 and"):
        OutOfRange(weight, low, high)
