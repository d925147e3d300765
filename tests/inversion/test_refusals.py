"""Bad input to an inversion gets one clear line, before any work."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from backlight import Box, Network, Unit, capture
from backlight.errors import ActivationError, BacklightError, BadInputError, UnknownLayerError
from backlight.inversion import InversionConfig, caricature, check, invert, maximise, spread_of
from conftest import SmallNet, captured_small_net


@pytest.fixture
def net() -> Network:
    """Return a small network."""
    return captured_small_net()


IMAGE = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(6))


def refused(error: type[BacklightError], text: str, call: object, *arguments: object) -> None:
    with pytest.raises(error, match=text) as caught:
        call(*arguments)  # type: ignore[operator]
    assert "\n" not in str(caught.value)


def test_a_code_of_the_wrong_shape(net: Network) -> None:
    refused(
        BadInputError,
        "'relu2' has the shape 12x8x8, an image 3x32x32, got 12x9x8",
        invert,
        net,
        torch.ones(12, 9, 8),
        "relu2",
    )
    refused(
        BadInputError,
        "'fc' has the shape 5, an image 3x32x32, got 2x5",
        invert,
        net,
        np.ones((2, 5)),
        "fc",
    )


def test_a_dead_code(net: Network) -> None:
    refused(
        BadInputError,
        "selected activations of layer 'relu2' are all zero, so there is nothing to match",
        invert,
        net,
        torch.zeros(12, 8, 8),
        "relu2",
    )
    code = torch.zeros(12, 8, 8)
    code[3] = 1
    refused(
        BadInputError,
        "are all zero, so there is nothing to match",
        invert,
        net,
        code,
        "relu2",
        InversionConfig(channels=(1, 2)),
    )


def test_a_code_that_is_not_finite(net: Network) -> None:
    code = np.ones((12, 8, 8))
    code[0, 0, 0] = np.nan
    refused(BadInputError, "code for layer 'relu2' holds NaN or infinite values", invert, net, code, "relu2")


@pytest.mark.parametrize("name", ["x", "input"])
def test_the_layer_that_is_the_input(net: Network, name: str) -> None:
    refused(BadInputError, f"layer '{name}' is the input itself: nothing to invert", invert, net, IMAGE, name)


def test_a_network_with_nan() -> None:
    model = SmallNet()
    model.conv2.weight.data[2, 1, 0, 0] = torch.nan
    net = capture(model, (3, 32, 32))
    refused(
        ActivationError,
        "values that are not finite in layer 'relu2' for the image",
        invert,
        net,
        IMAGE,
        "relu2",
    )
    code = torch.ones(12, 8, 8)
    refused(
        ActivationError, "has no finite code; look for NaN or infinite weights", invert, net, code, "relu2"
    )
    refused(ActivationError, "no finite code", maximise, net, Unit("fc", 0))
    smooth = torch.nn.functional.interpolate(IMAGE[None, :, :4, :4], (32, 32), mode="bicubic")[0]
    assert invert(net, smooth, "relu1").relative_errors[0] < 0.2  # below the damage all is well


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


def test_networks_of_short_numbers_and_codes_without_numbers(net: Network) -> None:
    half = capture(SmallNet().to(torch.bfloat16), (3, 32, 32))
    refused(BadInputError, "is bfloat16; capture model.float()", invert, half, IMAGE.bfloat16(), "relu2")
    for code in (np.full((12, 8, 8), "a"), np.ones((12, 8, 8), complex), np.full((12, 8, 8), None)):
        refused(BadInputError, "an array of real numbers, got one of", invert, net, code, "relu2")


def test_an_image_of_another_size_is_told_the_size_of_images(net: Network) -> None:
    refused(
        BadInputError,
        "has the shape 12x8x8, an image 3x32x32, got 3x48x48",
        invert,
        net,
        torch.rand(3, 48, 48),
        "relu2",
    )


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


def test_nothing_to_exaggerate() -> None:
    class Below(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return -torch.relu(x) - 1

    net = capture(Below(), (3, 8, 8))
    refused(
        BadInputError,
        "no selected activation of layer 'sub' is positive, so there is nothing to exaggerate",
        caricature,
        net,
        torch.rand(3, 8, 8),
        net.layers[-1].name,
    )
