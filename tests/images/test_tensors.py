"""From pictures to the tensor: 8 bits and more than 8 come to the same numbers."""

import numpy as np
import torch
from PIL import Image

from backlight.images import Preprocessing
from images.pictures import GREY, TWELVE, WHOLE


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
