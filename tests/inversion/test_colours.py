"""Colours: between grey levels, a network's inputs and pictures."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from backlight import capture
from backlight.inversion import invert


@pytest.mark.parametrize("channels", [1, 2])
def test_networks_of_few_channels_have_grey_pictures(channels: int) -> None:
    torch.manual_seed(0)
    few = capture(nn.Sequential(nn.Conv2d(channels, 4, 3), nn.ReLU()), (channels, 16, 16))
    found = invert(few, torch.rand(channels, 16, 16), "1")
    assert found.pictures.shape == (1, 16, 16, 3)
    assert (found.pictures[..., 0] == found.pictures[..., 2]).all()
