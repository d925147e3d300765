"""What no layer shows is said to be left out: tokens, volumes, parts of images, single positions."""

from functools import cache

import pytest
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from backlight.errors import UnknownLayerError
from backlight.network import Network
from backlight.network.unseen import unseen_convolutions
from network.nets import Net, captured, defaults


@cache
def transformer() -> Network:
    return captured(torchvision.models.VisionTransformer(16, 8, 2, 2, 8, 16), side=16)


def test_tokens_are_said_to_be_left_out():
    net = transformer()
    assert defaults(net) == ["conv_proj"]
    left_out = {own.name: own for own in net.coverage().left_out}
    gelu = left_out["encoder.layers.encoder_layer_0.mlp.1"]
    assert (gelu.operator, gelu.shape, gelu.kind) == ("gelu", ("n", 5, 16), "tokens")
    (line,) = net.coverage().left_out_in_words()
    assert line.startswith(
        "encoder.layers.encoder_layer_0.self_attention.linear (linear): its output is tokens ("
    )
    assert line.endswith("not feature maps, and 9 more of this kind behind it")
    assert unseen_convolutions(net) == ()


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("encoder.ln", "tokens (n, 5, 8)"),
        ("encoder", "tokens (n, 5, 8)"),
        ("encoder.layers.encoder_layer_1.mlp.1", "tokens (n, 5, 16)"),
    ],
)
def test_what_is_no_layer_is_said_to_be_tokens(name, output):
    with pytest.raises(UnknownLayerError) as error:
        transformer().layer(name)
    assert str(error.value).startswith(
        f"'{name}' of VisionTransformer cannot be shown: its output is {output}, not feature maps; "
    )


def in_volumes(x: Tensor, first: nn.Module, second: nn.Module, last: nn.Module) -> Tensor:
    return last(second(first(x[:, None])).relu().mean(2)).relu()


def in_windows(x: Tensor, first: nn.Module, second: nn.Module) -> Tensor:
    n = x.shape[0]
    cut = first(x).reshape(n, 4, 2, 4, 2, 4).permute(0, 2, 4, 1, 3, 5).reshape(-1, 4, 4, 4)
    return second(cut).relu().reshape(n, -1)


LEFT_OUT = {  # with the default layers and what is left out
    "volumes": (
        lambda: Net(in_volumes, nn.Conv3d(1, 4, 3, padding=1), nn.Conv3d(4, 4, 3), nn.Conv2d(4, 4, 1)),
        ["relu_1"],
        [
            ("parts.0", ("n", 4, 3, 8, 8), "3-D volumes"),
            ("parts.1", ("n", 4, 1, 6, 6), "3-D volumes"),
            ("relu", ("n", 4, 1, 6, 6), "3-D volumes"),
        ],
    ),
    "windows": (
        lambda: Net(in_windows, nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, padding=1)),
        ["parts.0"],
        [("parts.1", ("4n", 4, 4, 4), "parts of images"), ("relu", ("4n", 4, 4, 4), "parts of images")],
    ),
    "single positions": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 6, 1), nn.ReLU()),
        ["1"],
        [("3", ("n", 6, 1, 1), "single positions"), ("4", ("n", 6, 1, 1), "single positions")],
    ),
    "sequences": (
        lambda: Net(
            lambda x, a, b: F.relu(b(F.relu(a(x)).flatten(2))).mean(2), nn.Conv2d(3, 4, 3), nn.Conv1d(4, 5, 3)
        ),
        ["relu"],
        [("parts.1", ("n", 5, 34), "tokens"), ("relu_1", ("n", 5, 34), "tokens")],
    ),
    "nothing": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5), nn.ReLU()),
        ["1"],
        [],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_is_left_out(name):
    make, default, expected = LEFT_OUT[name]
    net = captured(make())
    assert defaults(net) == default
    assert [(own.name, own.shape, own.kind) for own in net.coverage().left_out] == expected
    assert unseen_convolutions(net) == ()
