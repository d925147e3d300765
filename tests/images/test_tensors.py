"""From pictures to the tensor: 8 bits and more than 8 come to the same numbers."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import Compose, Normalize, ToTensor

from backlight.images import DeepPicture, Preprocessing
from backlight.images.tensors import normalised
from images.pictures import GREY, TWELVE, WHOLE, same_bits


def test_16_bit_grey_that_holds_8_bits_is_the_same_tensor_bit_for_bit():
    deep, flat = WHOLE.tensor(GREY.astype(np.uint16) * 257), WHOLE.tensor(Image.fromarray(GREY))
    assert torch.equal(deep, flat)


def test_grey_is_repeated_for_a_colour_network():
    own = Preprocessing(None, (20, 30), (0.0, 0.5, 0.0), (1.0, 1.0, 0.5), range=(0, 4095))
    tensor = own.tensor(TWELVE)
    assert torch.equal(tensor[0] - 0.5, tensor[1])
    assert torch.equal(tensor[0] * 2, tensor[2])


def test_a_batch_of_both_kinds():
    batch = WHOLE.batch([Image.fromarray(GREY), GREY.astype(np.uint16) * 257])
    assert torch.equal(batch[0], batch[1])


MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)


def test_values_are_scaled_and_normalised_as_torchvision_does_bit_for_bit():
    pictures = [
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (4, 5, 3), np.uint8)) for i in range(3)
    ]
    transform = Compose([ToTensor(), Normalize(MEAN, STD)])
    same_bits(normalised(pictures, (4, 5), MEAN, STD), torch.stack([transform(own) for own in pictures]))


def test_no_picture_makes_an_empty_batch_of_its_shape():
    tensor = normalised([], (4, 5), MEAN, STD)
    assert (tensor.shape, tensor.dtype) == ((0, 3, 4, 5), torch.float32)


def test_deep_colour_is_not_rounded_to_8_bits():
    values = np.full((2, 2, 3), (0.1, 0.2, 0.7), np.float32)
    tensor = normalised([DeepPicture(values, (0.0, 1.0))], (2, 2), (0.0,) * 3, (1.0, 0.5, 1.0))
    assert tensor[0, :, 1, 0].tolist() == pytest.approx([0.1, 0.4, 0.7])


def test_pictures_of_two_sizes_are_no_batch():
    with pytest.raises(RuntimeError, match="equal size"):
        normalised([Image.new("L", (4, 4)), Image.new("L", (4, 5))], (4, 4), (0.5,), (0.5,))
