"""Colours: between grey levels, a network's inputs and pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from backlight import Network, Preprocessing, capture
from backlight.inversion import invert
from backlight.inversion.colours import RMS, Colours
from conftest import captured_small_net


@pytest.mark.parametrize("channels", [1, 2])
def test_networks_of_few_channels_have_grey_pictures(channels: int) -> None:
    torch.manual_seed(0)
    few = capture(nn.Sequential(nn.Conv2d(channels, 4, 3), nn.ReLU()), (channels, 16, 16))
    found = invert(few, torch.rand(channels, 16, 16), "1")
    assert found.pictures.shape == (1, 16, 16, 3)
    assert (found.pictures[..., 0] == found.pictures[..., 2]).all()


def of_colours(preprocessing: Preprocessing | None) -> Colours:
    net = captured_small_net()
    return Colours.of(Network(net.module, net.name, net.input_shape, preprocessing))


ZOO = Preprocessing(None, (32, 32), (0.5, 0.4, 0.25), (0.2, 0.25, 0.5))


def test_levels_are_pixels_without_the_mean_colour() -> None:
    """An input of i stands for the pixel value (i · std + mean) · 255."""
    own, pixels = of_colours(ZOO), torch.tensor([255.0, 0.0, 51.0]).view(1, 3, 1, 1)
    inputs = (pixels / 255 - torch.tensor(ZOO.mean).view(1, 3, 1, 1)) / torch.tensor(ZOO.std).view(1, 3, 1, 1)
    levels = pixels - torch.tensor([127.5, 102.0, 63.75]).view(1, 3, 1, 1)
    torch.testing.assert_close(own.to_levels(inputs), levels)
    torch.testing.assert_close(own.to_inputs(levels), inputs)
    assert own.to_pixels(levels)[0, 0, 0].tolist() == [255, 0, 51]


def test_levels_of_zero_are_mid_grey_where_nothing_is_subtracted_and_without_preprocessing() -> None:
    """*Convention*: the mean colour is mid-grey, not black, there; without preprocessing inputs have a spread of 1."""
    zero = torch.zeros(1, 3, 1, 1)
    black = of_colours(Preprocessing(None, (32, 32), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))
    torch.testing.assert_close(black.to_inputs(zero), torch.full((1, 3, 1, 1), 0.5))
    none = of_colours(None)
    torch.testing.assert_close(none.to_inputs(zero), zero)
    torch.testing.assert_close(none.to_inputs(zero + RMS), zero + 1)
    for own in (black, none):
        assert own.to_pixels(zero)[0, 0, 0].tolist() == [128, 128, 128]


def test_pixels_are_rounded_and_held_between_black_and_white() -> None:
    levels = torch.tensor([-500.0, 500.0, 0.75]).view(1, 3, 1, 1)
    found = of_colours(ZOO).to_pixels(levels)
    assert (found.dtype, found.shape) == (np.uint8, (1, 1, 1, 3))
    assert found[0, 0, 0].tolist() == [0, 255, 64]  # 63.75 + 0.75 is 64.5, which rounds to the even one


def test_images_of_other_channels_than_the_networks_are_refused() -> None:
    with pytest.raises(RuntimeError, match="must match the size of tensor"):
        of_colours(ZOO).to_inputs(torch.zeros(1, 4, 2, 2))
