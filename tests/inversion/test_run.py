"""Inversion: known images are recovered, the seed decides everything, bad input gets one clear line."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from backlight import Box, Network, Unit, capture
from backlight.errors import BadInputError, UnknownLayerError
from backlight.inversion import (
    RECIPES,
    InversionConfig,
    Place,
    Recipe,
    Stage,
    caricature,
    check,
    invert,
    maximise,
    spread_of,
)
from backlight.inversion.optimisers import Adam
from backlight.inversion.priors import Norm, TotalVariation
from backlight.inversion.recipes import best, recipe_for
from inversion.refusing import IMAGE, refused

SIDE = 6
N = 3 * SIDE * SIDE


class Linear(nn.Module):
    """A representation that is one matrix."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.inner = nn.Linear(*matrix.shape, bias=False)
        self.inner.weight = nn.Parameter(matrix)

    def forward(self, x: Tensor) -> Tensor:
        """Return the product with the image, (n, 108)."""
        return self.inner(x.flatten(1))


def orthogonal() -> Tensor:
    return torch.linalg.qr(torch.randn(N, N, dtype=torch.float64))[0]


@pytest.mark.parametrize(
    "matrix", [torch.eye(N, dtype=torch.float64), orthogonal()], ids=["identity", "orthogonal"]
)
def test_a_rotation_is_inverted_to_the_limit_of_the_prior(matrix: Tensor) -> None:
    """With quadratic priors the optimum is the solution of a linear system, the same for every rotation."""
    net = capture(Linear(matrix), torch.zeros(1, 3, SIDE, SIDE, dtype=torch.float64))
    image = torch.randn(3, SIDE, SIDE, dtype=torch.float64)
    priors = Norm(2e-6, 2.0), TotalVariation(5e-6, 2.0)
    RECIPES["quadratic"] = lambda place, strength: Recipe(
        "quadratic", 1.0, priors, (Stage(Adam(8.0), 2000),), "normal", 60.0
    )
    found = invert(net, image, "inner", InversionConfig("quadratic"))
    del RECIPES["quadratic"]
    levels = torch.from_numpy(found.images[0]).double() * 68.9
    wanted = image * 68.9
    basis = torch.eye(N, dtype=torch.float64).view(N, 3, SIDE, SIDE)
    hessian = sum(prior(basis)[1] for prior in priors).view(N, N) + 2 * torch.eye(N) / wanted.square().sum()
    exact = torch.linalg.solve(hessian, 2 * wanted.flatten() / wanted.square().sum()).view_as(wanted)
    assert float((exact - wanted).norm() / wanted.norm()) > 0.05  # the priors do have a say
    torch.testing.assert_close(levels, exact, rtol=1e-3, atol=0.05)


def test_without_priors_the_image_itself_comes_back() -> None:
    net = capture(Linear(orthogonal()), torch.zeros(1, 3, SIDE, SIDE, dtype=torch.float64))
    image = torch.randn(3, SIDE, SIDE, dtype=torch.float64)
    RECIPES["bare"] = lambda place, strength: Recipe(
        "bare", 1.0, (), (Stage(Adam(8.0), 1500),), "uniform", 46.0
    )
    found = invert(net, image, "inner", InversionConfig("bare"))
    del RECIPES["bare"]
    np.testing.assert_allclose(found.images[0], image.numpy(), atol=2e-3)
    assert found.relative_errors[0] < 1e-3


@pytest.mark.parametrize("layer", ["conv1", "relu1", "pool", "relu2", "fc"])
def test_any_layer_comes_near(layer: str, net: Network, picture: Image.Image) -> None:
    found = invert(net, picture, layer)
    assert found.relative_errors[0] < 0.2
    noise = float(np.sqrt(found.curves[0, 0, 0] / best_weight(net, layer)))
    assert found.relative_errors[0] < 0.7 * noise
    with torch.no_grad():
        code, target = (
            net.features([net.layer(layer)])(x)[0] for x in (torch.tensor(found.images), net.prepare(picture))
        )
    assert float((code - target).norm() / target.norm()) == pytest.approx(found.relative_errors[0], rel=1e-3)
    assert found.norm == pytest.approx(float(target.norm()), rel=1e-4)


def best_weight(net: Network, layer: str) -> float:
    return best(Place.of(net, net.layer(layer))).weight


def test_the_seed_decides_everything(net: Network, picture: Image.Image, quick: None) -> None:
    first, again, other = (
        invert(net, picture, "relu2", InversionConfig("quick", seed=seed)) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first.images, again.images)
    assert abs(first.images - other.images).max() > 0.1


def test_a_caricature_has_more_of_the_code(net: Network, picture: Image.Image) -> None:
    found = caricature(net, picture, "relu2")
    weight = recipe_for("default", Place.of(net, net.layer("relu2")), inverts=False).weight
    assert found.curves[0, 0, 0] / weight == pytest.approx(-1, rel=0.2)  # it starts from the image
    assert -found.goals[0] > 1.5
    with pytest.raises(ValueError, match="matches no code, so it has no error"):
        _ = found.relative_errors


@pytest.mark.parametrize("unit", [Unit("relu2", 3), Unit("relu2", 3, 1, 6), Unit("fc", 2)], ids=str)
def test_a_unit_is_maximised(unit: Unit, net: Network) -> None:
    found = maximise(net, unit, largest=2.0)
    row, col = (4, 4) if unit.row is None else (unit.row, unit.col)
    with torch.no_grad():
        (maps,) = net.features([net.layer(unit.layer)])(torch.tensor(found.images))
        (noise,) = net.features([net.layer(unit.layer)])(torch.randn(50, 3, 32, 32))
    of_unit = (0, unit.channel) if unit.layer == "fc" else (0, unit.channel, row, col)
    value = float(maps[of_unit])
    assert -found.goals[0] == pytest.approx(value / 2.0, rel=1e-3)
    assert value > float(noise[:, unit.channel].amax())


def test_unknown_layers_recipes_and_parts(net: Network) -> None:
    refused(UnknownLayerError, "no layer 'relu3'; did you mean 'relu", invert, net, IMAGE, "relu3")
    refused(BadInputError, "no recipe 'fast'", check, net, "relu2", InversionConfig("fast"))
    refused(
        BadInputError, "channel 12 is out of range", check, net, "relu2", InversionConfig(channels=(3, 12))
    )
    refused(BadInputError, "no 9 x 9 units in its middle", check, net, "relu2", InversionConfig(centre=9))
    refused(BadInputError, "no 1 x 1 units in its middle", check, net, "fc", InversionConfig(centre=1))
    refused(
        BadInputError,
        "rows 0 to 9 and columns 0 to 2 do not lie",
        check,
        net,
        "relu2",
        InversionConfig(box=Box(0, 0, 9, 2)),
    )
    with pytest.raises(BadInputError, match="by box or by centre, got both"):
        InversionConfig(box=Box(0, 0, 1, 1), centre=1)
    with pytest.raises(BadInputError, match="restarts must be at least 1"):
        InversionConfig(restarts=0)


def test_several_images_and_too_few_photographs(net: Network) -> None:
    refused(
        BadInputError,
        "one image at a time, got 2; invert_all",
        invert,
        net,
        torch.rand(2, 3, 32, 32),
        "relu2",
    )
    refused(BadInputError, "needs at least 2 of them, got 1", spread_of, net, IMAGE, "relu2")
    same = IMAGE.expand(3, -1, -1, -1)
    refused(BadInputError, "the 3 photographs have the same code", spread_of, net, same, "relu2")


def test_units_out_of_range(net: Network) -> None:
    refused(BadInputError, "channel 12 is out of range", maximise, net, Unit("relu2", 12))
    refused(BadInputError, "row 8, column 0 is out of range", maximise, net, Unit("relu2", 1, 8, 0))
    refused(
        BadInputError,
        "largest activation of a unit must be positive, got -1",
        maximise,
        net,
        Unit("relu2", 1),
        None,
        -1.0,
    )
