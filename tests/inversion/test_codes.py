"""Codes: what is inverted as a code, the part of it that counts, and what cannot be a code."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from backlight import Box, Network, Unit, capture
from backlight.errors import ActivationError, BadInputError
from backlight.inversion import InversionConfig, invert, maximise
from backlight.inversion.codes import Coder, central_box, is_layer_code, one_image
from conftest import SmallNet
from inversion.refusing import IMAGE, refused


def test_a_code_is_inverted_as_its_image_is(net: Network, picture: Image.Image, quick: None) -> None:
    with torch.no_grad():
        (code,) = net.features([net.layer("relu2")])(net.prepare(picture))
    by_image = invert(net, picture, "relu2", InversionConfig("quick"))
    for given in (code[0], code, code[0].numpy(), code[0].double().numpy()):
        found = invert(net, given, "relu2", InversionConfig("quick"))
        np.testing.assert_allclose(found.images, by_image.images, atol=1e-5)
        assert found.label is None
        assert found.same_label is None
        assert found.original.size == 0


@pytest.mark.parametrize(
    "part",
    [{"channels": (0, 5)}, {"box": Box(2, 3, 5, 7)}, {"centre": 3}, {"channels": (1,), "centre": 2}],
    ids=str,
)
def test_only_a_part_of_the_code_counts(part: dict[str, object], net: Network, quick: None) -> None:
    code = torch.rand(12, 8, 8)
    counts = torch.zeros(12, 8, 8, dtype=torch.bool)
    box = (
        part.get("box") or {3: Box(2, 2, 5, 5), 2: Box(3, 3, 5, 5), None: Box(0, 0, 8, 8)}[part.get("centre")]
    )  # type: ignore[index]
    assert isinstance(box, Box)
    counts[list(part.get("channels", range(12))), box.top : box.bottom, box.left : box.right] = True  # type: ignore[call-overload]
    config = InversionConfig("quick", **part)  # type: ignore[arg-type]
    found, same, other = (
        invert(net, own, "relu2", config)
        for own in (
            code,
            torch.where(counts, code, torch.rand(12, 8, 8)),
            torch.where(counts, code + 1, code),
        )
    )
    np.testing.assert_array_equal(found.images, same.images)
    assert abs(found.images - other.images).max() > 1e-3
    assert found.norm == pytest.approx(float(code[counts].norm()), rel=1e-5)


def test_an_array_may_lie_in_memory_in_any_way(net: Network, quick: None) -> None:
    code = np.random.default_rng(0).random((12, 8, 8)).astype(np.float32)
    plain = invert(net, code, "relu2", InversionConfig("quick"))
    for own in (code[::-1].copy()[::-1], code.astype(">f4"), np.asfortranarray(code)):
        np.testing.assert_array_equal(
            invert(net, own, "relu2", InversionConfig("quick")).images, plain.images
        )


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


def test_the_middle_of_an_odd_margin_is_rounded_down(net: Network) -> None:
    """*Convention*: of 8 rows the central 3 begin at row 2."""
    own = net.layer("relu2")
    assert central_box(own, 3) == Box(2, 2, 5, 5)
    assert central_box(own, 8) == Box(0, 0, 8, 8)
    for layer, size in ((own, 9), (own, 0), (net.layer("fc"), 1)):
        with pytest.raises(
            BadInputError, match=f"has no {size} x {size} units in its middle; choose an earlier"
        ):
            central_box(layer, size)


def test_arrays_are_codes_and_a_tensor_is_an_image_by_its_shape(net: Network) -> None:
    """*Convention*: so an array of an image's shape is a code all the same."""
    image = np.zeros((3, 32, 32))
    assert is_layer_code(net, image)
    assert is_layer_code(net, torch.zeros(12, 8, 8))
    for given in (torch.zeros(3, 32, 32), torch.zeros(1, 3, 32, 32), "a.png", Image.new("RGB", (9, 9))):
        assert not is_layer_code(net, given)


def test_the_mask_is_one_in_the_chosen_channels_and_units(net: Network) -> None:
    coder = Coder(net, "relu2")
    assert coder.mask() is None
    found = coder.mask((1, 4), Box(2, 3, 4, 8))
    expected = torch.zeros(1, 12, 8, 8)
    expected[0, [1, 4], 2:4, 3:8] = 1
    assert torch.equal(found, expected)  # type: ignore[arg-type]
    assert torch.equal(coder.mask(centre=2), coder.mask(box=Box(3, 3, 5, 5)))  # type: ignore[arg-type]
    vector = Coder(net, "fc").mask((2,))
    assert vector is not None
    assert vector.tolist() == [[0, 0, 1, 0, 0]]
    with pytest.raises(
        BadInputError, match=r"channel list \(\) is out of range for layer 'relu2' \(12 feature"
    ):
        coder.mask(())


def test_codes_of_levels_are_the_networks_and_have_a_gradient(net: Network) -> None:
    coder, inputs = Coder(net, "pool"), net.prepare(IMAGE)
    (expected,) = net.features("pool")(inputs)
    levels = coder.colours.to_levels(inputs).requires_grad_()
    torch.testing.assert_close(coder(levels), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(coder.of_inputs(inputs), expected, rtol=1e-5, atol=1e-6)
    (gradient,) = torch.autograd.grad(coder(levels).sum(), levels)
    assert gradient.any()


def test_one_image_is_made_a_batch(net: Network) -> None:
    assert one_image(net, IMAGE).shape == (1, 3, 32, 32)
    with pytest.raises(
        BadInputError, match="this takes one image at a time, got 2; invert_all takes several"
    ):
        one_image(net, IMAGE.expand(2, -1, -1, -1))
