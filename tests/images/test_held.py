import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset

from backlight.errors import BadInputError, ImageError
from backlight.images import decode, held
from backlight.images.held import (
    drained,
    is_labelled,
    is_map_style,
    is_picture,
    item_of,
    label_text,
    refuse_loader,
    tensor_array,
)
from images.pictures import PIXELS

CHANNELS_FIRST = torch.from_numpy(PIXELS).permute(2, 0, 1)


@pytest.mark.parametrize(
    "tensor",
    [CHANNELS_FIRST, CHANNELS_FIRST.float() / 255, CHANNELS_FIRST.double() / 255, CHANNELS_FIRST * (1 / 255)],
    ids=["uint8", "float32", "float64", "multiplied"],
)
def test_a_tensor_of_a_picture_of_8_bits_is_that_picture(tensor):
    assert np.array_equal(tensor_array(tensor), PIXELS)
    assert np.array_equal(np.asarray(decode(tensor)), PIXELS)


def test_floats_between_the_levels_keep_their_precision():
    values = torch.rand(1, 4, 5)
    assert np.array_equal(decode(values).values, values[0].numpy())
    deep = torch.arange(6, dtype=torch.int32).reshape(2, 3) * 10_000
    assert np.array_equal(decode(deep).values, deep.numpy())


def test_every_level_of_8_bits_is_found_again_and_half_a_level_is_not():
    levels = torch.arange(256, dtype=torch.float32).reshape(1, 16, 16)
    assert tensor_array(levels / 255).dtype == np.uint8
    assert np.array_equal(tensor_array(levels / 255)[..., 0], levels[0].numpy())
    assert tensor_array((levels[:, :1] + 0.5) / 255).dtype == np.float32


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (
            torch.zeros(5, 4, 3),
            r"shape 5x4x3 is not a picture, \(c, h, w\) or \(h, w\); tensor.permute\(2, 0, 1\)",
        ),
        (torch.zeros(5, 6, 7), r"shape 5x6x7 is not a picture, \(c, h, w\) or \(h, w\)$"),
        (
            torch.full((3, 2, 2), -1.5),
            r"from -1.5 to -1.5: .* lie in 0..1; give the pictures before Normalize",
        ),
        (torch.full((3, 2, 2), 255.0), r"from 255 to 255: .* give the pictures before Normalize"),
    ],
)
def test_what_is_no_picture(tensor, message):
    with pytest.raises(ImageError, match=message):
        tensor_array(tensor)


def test_of_one_channel_the_preprocessing_may_say_the_range():
    assert tensor_array(torch.full((1, 2, 2), -500.0)).min() == -500


@pytest.mark.parametrize(
    ("given", "is_one"),
    [
        (PIXELS, True),
        (CHANNELS_FIRST, True),
        (CHANNELS_FIRST[None], False),
        (Image.new("L", (2, 2)), True),
        ("a.png", False),
    ],
)
def test_pictures_in_memory(given, is_one):
    assert is_picture(given) is is_one


def test_items_and_labels():
    assert item_of((PIXELS, 3, "more")) == (PIXELS, 3)
    assert item_of({"img": PIXELS, "label": 2}) == (PIXELS, 2)
    assert item_of(PIXELS) == (PIXELS, None)
    assert is_labelled((CHANNELS_FIRST, torch.tensor(3)))
    assert is_labelled({"image": PIXELS})
    assert not is_labelled((CHANNELS_FIRST, CHANNELS_FIRST))
    assert not is_labelled((PIXELS,))
    names = ["cat", "dog"]
    given = [torch.tensor(1), np.int64(0), 5, -1, "owl", None, torch.zeros(3), {"boxes": []}]
    assert [label_text(own, names) for own in given] == ["dog", "cat", "5", "-1", "owl", None, None, None]


def test_a_loader_is_refused_with_what_to_write():
    with pytest.raises(BadInputError, match=r"got a DataLoader; give its Dataset instead: loader\.dataset$"):
        refuse_loader(DataLoader(TensorDataset(CHANNELS_FIRST[None])))
    refuse_loader([PIXELS])


class _Stream(IterableDataset):
    def __iter__(self):
        yield PIXELS


def test_what_is_read_by_index():
    dataset = TensorDataset(CHANNELS_FIRST[None])
    assert is_map_style(dataset)
    assert is_map_style(Subset(dataset, [0]))
    for other in (
        _Stream(),
        [PIXELS],
        PIXELS,
        CHANNELS_FIRST,
        {"a": 1},
        iter([PIXELS]),
        "ab",
        Image.new("L", (2, 2)),
    ):
        assert not is_map_style(other)


def test_a_generator_is_read_up_to_a_limit(monkeypatch):
    assert drained(iter([PIXELS, (PIXELS, 1)])) == [PIXELS, (PIXELS, 1)]
    monkeypatch.setattr(held, "MOST_DRAINED_BYTES", 3 * PIXELS.nbytes)

    def endless():
        while True:
            yield Image.fromarray(PIXELS), 0

    with pytest.raises(
        BadInputError, match=r"more than .* GB after 3 images; give a Dataset or files instead$"
    ):
        drained(endless())


def test_without_pytorch_nothing_is_a_tensor(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch")
    assert not is_picture(CHANNELS_FIRST)
