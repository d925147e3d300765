"""Pictures of more than 8 bits: no step on the way to the network or to the screen loses precision."""

import numpy as np
import pytest
import torch
from PIL import Image

from backlight.errors import ImageError
from backlight.images import DeepPicture, Preprocessing, decode
from images.pictures import GREY, PIXELS, TWELVE, WHOLE, encoded, ranged, told

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("kind", ["png", "tiff", "npy", "int32 tiff", "float tiff", "array"])
def test_all_grey_levels_of_12_bit_data_reach_the_tensor(kind, tmp_path):
    values = TWELVE.astype({"int32 tiff": np.int32, "float tiff": np.float32}.get(kind, np.uint16))
    image = values
    if kind != "array":
        image = tmp_path / f"a.{kind.split()[-1]}"
        np.save(image, values) if kind == "npy" else Image.fromarray(values).save(image)
    tensor = ranged(0, 4095).tensor(image)
    torch.testing.assert_close(tensor[0], torch.from_numpy(TWELVE / 4095).float())
    assert len(tensor.unique()) == len(np.unique(TWELVE))


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "box"])
@pytest.mark.parametrize("resize", [13, 40, (33, 17)])
def test_resizing_is_that_of_8_bit_pictures_but_for_their_rounding(interpolation, resize):
    smooth = np.add.outer(np.arange(20), np.arange(30)).astype(np.uint8) * 4
    own = Preprocessing(resize, (24, 26), (0.0,), (1.0,), interpolation)
    deep, flat = own.tensor(smooth.astype(np.uint16) * 257), own.tensor(smooth)
    torch.testing.assert_close(deep, flat, atol=1.01 / 255, rtol=0)
    if interpolation in ("bilinear", "bicubic"):
        assert len(deep.unique()) > len(flat.unique())


def test_deep_colour_goes_through_all_steps():
    colour = RNG.integers(0, 65536, (20, 30, 3), dtype=np.uint16)
    own = Preprocessing(25, (20, 24), (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    eight = own.tensor((colour // 257).astype(np.uint8))
    assert own.tensor(colour).shape == (3, 20, 24)
    torch.testing.assert_close(own.tensor(colour), eight, atol=3 / 255 / 0.2, rtol=0)
    grey = Preprocessing(25, (20, 24), (0.5,), (0.25,)).tensor(colour)
    assert grey.shape == (1, 20, 24)


def test_8_bit_pictures_pass_as_before_without_a_range_or_with_their_own():
    image = Image.fromarray(GREY)
    assert isinstance(WHOLE.picture(image), Image.Image)
    own = ranged(0, 255, mean=(0.5,), std=(0.25,))
    assert isinstance(own.picture(image), Image.Image)
    assert torch.equal(own.tensor(image), WHOLE.tensor(image))


def test_a_range_holds_for_8_bit_pictures_too():
    tensor, texts = told(lambda: ranged(100, 200).tensor(Image.fromarray(GREY)))
    expected = ((GREY.astype(np.float64) - 100) / 100).clip(0, 1)
    torch.testing.assert_close(tensor[0], torch.from_numpy(expected).float())
    assert len(texts) == 1


def test_a_small_picture_is_padded_with_black():
    tensor = ranged(1000, 2000, crop=(4, 6)).tensor(np.full((1, 3), 2000, np.uint16))
    expected = torch.zeros(1, 4, 6)
    expected[0, 1, 1:4] = 1
    assert torch.equal(tensor, expected)


def test_pictures_are_shown_with_the_contrast_of_the_range():
    picture = ranged(1000, 3000).picture(np.linspace(0, 4000, 600).reshape(20, 30).astype(np.int16))
    assert isinstance(picture, DeepPicture)
    shown = np.asarray(picture.convert("L"))
    assert (shown.min(), shown.max(), shown[10, 0]) == (0, 255, round((2003 - 1000) / 2000 * 255))
    assert picture.convert("RGB").mode == "RGB"


@pytest.mark.usefixtures("no_warning")
def test_what_lies_outside_of_the_assumed_range_is_not_turned_into_grey():
    for values, message in [
        (np.array([[0, 65536]], np.int32), r"integers from 0 to 65536: .* must lie in 0\.\.65535; .*--range"),
        (np.array([[0, -1]], np.int16), "integers from -1 to 0"),
        (np.array([[0, 255]], np.float32), r"floats from 0 to 255: .* must lie in 0\.\.1"),
        (np.array([[0.5, np.nan]], np.float32), "NaN or infinite"),
        (np.array([[0.5, np.inf]], np.float64), "NaN or infinite"),
    ]:
        with pytest.raises(ImageError, match=message):
            decode(values).convert("L")
    shown = decode(encoded(Image.fromarray(np.array([[0, 0.5, 1]], np.float32)), "TIFF"), 1).convert("L")
    assert np.asarray(shown).tolist() == [[0, 128, 255]]


@pytest.mark.usefixtures("no_warning")
def test_deep_colour_becomes_luma_as_8_bit_colour_does():
    deep = decode((PIXELS.astype(np.uint16) * 257), 1).convert("L")
    assert np.abs(np.asarray(deep, int) - np.asarray(decode(PIXELS, 1), int)).max() <= 1
