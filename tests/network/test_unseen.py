"""The check for convolutions that no layer shows."""

from torch import nn

from backlight.network.unseen import unseen_convolutions
from network.nets import captured


def test_an_unseen_convolution_is_found():
    """The check itself: a layer that is taken away is missed."""
    net = captured(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)))
    net.__dict__["layers"] = tuple(layer for layer in net.layers if layer.name != "2")
    assert unseen_convolutions(net) == ("2",)
