"""The check for convolutions that no layer shows."""

from dataclasses import replace

from torch import nn

from backlight.network.unseen import unseen_convolutions
from network.nets import captured


def test_an_unseen_convolution_is_found():
    """The check itself: a layer that is taken away is missed."""
    net = captured(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)))
    net.__dict__["layers"] = tuple(layer for layer in net.layers if layer.name != "2")
    assert unseen_convolutions(net) == ("2",)


def test_a_convolution_whose_norm_or_rectifier_is_shown_is_seen():
    norm = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), nn.MaxPool2d(2), nn.ReLU()]
    assert unseen_convolutions(captured(nn.Sequential(*norm))) == ()


def test_a_default_layer_behind_the_next_convolution_does_not_show_the_one_before():
    net = captured(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.ReLU()))
    assert unseen_convolutions(net) == ()
    net.__dict__["layers"] = tuple(replace(own, is_default=own.name == "2") for own in net.layers)
    assert unseen_convolutions(net) == ("0",)
