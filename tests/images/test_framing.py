"""Resizes, crops and tensors equal torchvision's, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

from backlight.errors import BadInputError
from backlight.images import Preprocessing
from backlight.images.framing import INTERPOLATIONS, centre_box, resized, resized_size

SIDE = st.integers(1, 40)
SIZE = st.tuples(SIDE, SIDE)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def noise(size: tuple[int, int], channels: int) -> Image.Image:
    shape = size if channels == 1 else (*size, 3)
    return Image.fromarray(np.random.default_rng(sum(size)).integers(0, 256, shape, np.uint8))


def test_the_interpolations_are_torchvisions() -> None:
    assert tuple(mode.value for mode in InterpolationMode) == INTERPOLATIONS


@settings(max_examples=150, deadline=None)
@given(
    SIZE,
    st.one_of(st.none(), SIDE, SIZE),
    SIZE,
    st.sampled_from(list(InterpolationMode)),
    st.sampled_from([1, 3]),
)
def test_what_a_network_sees_is_what_torchvision_makes(
    size: tuple[int, int],
    resize: int | tuple[int, int] | None,
    crop: tuple[int, int],
    mode: InterpolationMode,
    channels: int,
) -> None:
    image = noise(size, channels)
    preprocessing = Preprocessing(resize, crop, MEAN[:channels], STD[:channels], mode.value)
    lengths = [resize] if isinstance(resize, int) else list(resize or ())
    seen = F.center_crop(F.resize(image, lengths, mode) if lengths else image, list(crop))
    assert preprocessing.picture(image).tobytes() == seen.tobytes()
    stacked = torch.stack([F.pil_to_tensor(seen)] * 2)
    expected = F.normalize(F.convert_image_dtype(stacked), list(MEAN[:channels]), list(STD[:channels]))
    batch = preprocessing.batch([image, image])
    assert torch.equal(batch, expected)
    assert (
        batch.stride() == expected.stride()
    )  # the order in memory decides how fast convolutions are, and their bits


@settings(max_examples=60, deadline=None)
@given(SIZE, SIZE)
def test_values_of_more_than_8_bits_are_cropped_alike(size: tuple[int, int], crop: tuple[int, int]) -> None:
    values = np.random.default_rng(0).random((*size, 3)).astype(np.float32)
    expected = F.center_crop(torch.from_numpy(values).permute(2, 0, 1), list(crop)).numpy()
    seen = Preprocessing(None, crop, (0.0,) * 3, (1.0,) * 3).picture(values)
    assert np.array_equal(seen.planes(3), expected)  # type: ignore[union-attr]


def test_an_odd_margin_is_rounded_to_even_and_odd_padding_is_at_the_end() -> None:
    assert [centre_box((have, 9), (4, 9))[0] for have in (5, 7, 9, 3, 1)] == [0, 2, 2, 0, -1]
    assert resized_size((3, 5), 2) == (2, 3)
    assert resized(noise((2, 3), 3), (2, 3), "bilinear").size == (3, 2)


def test_a_deviation_that_float32_does_not_know_is_refused() -> None:
    with pytest.raises(BadInputError, match="std must be finite and above 0"):
        Preprocessing(None, (2, 2), (0.5,), (1e-50,))
