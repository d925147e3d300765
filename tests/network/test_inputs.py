"""Capture without an example: where the size of the input comes from."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

import backlight
from backlight import Preprocessing
from backlight.errors import BadInputError, CaptureWarning
from conftest import SmallNet


def test_a_preprocessing_says_the_size():
    net = backlight.capture(SmallNet(), preprocessing=Preprocessing.default(3, (24, 40)))
    assert net.input_shape == (3, 24, 40)
    grey = backlight.capture(nn.Conv2d(1, 2, 3), preprocessing=Preprocessing.default(1, 8))
    assert grey.input_shape == (1, 8, 8)


def test_an_example_wins():
    net = backlight.capture(SmallNet(), (3, 16, 16), Preprocessing.default(3, 16))
    assert net.input_shape == (3, 16, 16)


def test_timm_says_size_and_preprocessing():
    timm = pytest.importorskip("timm")
    model = timm.create_model("resnet10t")
    with pytest.warns(
        CaptureWarning, match=r"^ResNet: inputs of 3x176x176 and their preprocessing are as its pretr"
    ):
        net = backlight.capture(model)
    assert net.input_shape == (3, 176, 176)
    assert net.preprocessing == Preprocessing.from_timm(model)
    grey = backlight.capture(timm.create_model("resnet10t", in_chans=1))
    assert grey.input_shape == (1, 176, 176)
    assert grey.preprocessing is None  # timm's mean is of three channels


@pytest.mark.parametrize("size", [24, [24, 24], (24, 24)])
def test_transformers_say_the_size(size):
    model = SmallNet()
    model.config = SimpleNamespace(image_size=size, num_channels=3)
    net = backlight.capture(model)
    assert net.input_shape == (3, 24, 24)
    assert net.preprocessing is None


@pytest.mark.parametrize(
    "config", [None, SimpleNamespace(image_size=[24]), SimpleNamespace(image_size=[24, "x"])]
)
def test_else_it_has_to_be_given(config):
    model = SmallNet()
    model.config = config
    with pytest.raises(
        BadInputError, match=r"^SmallNet does not say the size of its input; give it, capture\("
    ):
        backlight.capture(model)


def test_a_network_for_an_odd_crop_of_timm_takes_tensors():
    model = SmallNet()
    model.pretrained_cfg = {"input_size": (3, 24, 40), "crop_mode": "border"}
    net = backlight.capture(model)
    assert (net.input_shape, net.preprocessing) == ((3, 24, 40), None)
    assert net(torch.zeros(1, 3, 24, 40)).shape == (1, 5)
