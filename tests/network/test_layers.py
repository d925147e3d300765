"""Which layers a network has: none vanishes without a word, whatever stands below it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from backlight import DECONVNET, Box, capture, project, strongest
from backlight.network import Network, describe_field
from backlight.network.unseen import unseen_convolutions
from backlight.projection.rewrite import apply_rules
from network.nets import SIDE, Net, captured, defaults
from small_zoo import SMALL_ZOO, captured_squeezenet

# --- behind any operator ------------------------------------------------------------------------------------


def unpooled(y: Tensor) -> Tensor:
    largest, places = F.max_pool2d(y, 2, return_indices=True)
    return F.max_unpool2d(largest, places, 2)


def shifted(y: Tensor) -> Tensor:
    out = torch.zeros_like(y)
    out[:, :2, :-1] = y[:, :2, 1:]
    out[:, 2:] = y[:, 2:]
    return out


def channel_by_channel(y: Tensor) -> Tensor:
    out = torch.zeros_like(y)
    out[:, 0] = y[:, 1]
    return out


def row_by_row(y: Tensor) -> Tensor:
    out = torch.zeros_like(y)
    out[:, :, 0] = y[:, :, 1]
    return out


def holes(y: Tensor) -> Tensor:
    out = y.new_zeros(y.shape[0], 4, 2 * SIDE, 2 * SIDE)
    out[:, :, ::2, ::2] = y
    return out


def copies(y: Tensor) -> Tensor:
    n, c, h, w = y.shape
    return y[:, :, :, None, :, None].expand(-1, -1, -1, 2, -1, 2).reshape(n, c, 2 * h, 2 * w)


def shuffled(y: Tensor) -> Tensor:
    n, c, h, w = y.shape
    return y.view(n, c // 4, 2, 2, h, w).permute(0, 1, 4, 2, 5, 3).reshape(n, c // 4, 2 * h, 2 * w)


def windows(y: Tensor) -> Tensor:
    n, c, h, w = y.shape
    cut = y.permute(0, 2, 3, 1).reshape(n, h // 4, 4, w // 4, 4, c).permute(0, 1, 3, 2, 4, 5)
    attended = cut.reshape(-1, 16, c).softmax(1) * 2
    back = attended.reshape(n, h // 4, w // 4, 4, 4, c).permute(0, 1, 3, 2, 4, 5)
    return back.reshape(n, h, w, c).permute(0, 3, 1, 2)


def sampled(y: Tensor) -> Tensor:
    grid = F.affine_grid(torch.eye(2, 3)[None].expand(y.shape[0], 2, 3), [y.shape[0], 4, SIDE, SIDE])
    return F.grid_sample(y, grid, align_corners=False)


ONCE, WHOLE = "5x5 every 1", "whole image"
TWICE = "5x5 every 1/2"  # on a map of twice as many rows and columns

BEHIND = {  # between two convolutions; with what a unit of the second sees
    "max_unpool": (unpooled, WHOLE),
    "slices written": (shifted, "6x5 every 1"),
    "channels written": (channel_by_channel, ONCE),
    "rows written": (row_by_row, WHOLE),
    "holes": (holes, "5x5 every 1/2"),
    "copies by views": (copies, TWICE),
    "copies in place": (lambda y: y.repeat_interleave(2, 2).repeat_interleave(2, -1), TWICE),
    "copies of channels": (lambda y: y.repeat_interleave(2, 1)[:, ::2], ONCE),
    "pixel shuffle by views": (shuffled, TWICE),
    "patches and back": (lambda y: F.fold(F.unfold(y, 3, padding=1), (SIDE, SIDE), 3, padding=1), "9x9 every 1"),
    "patches in another order": (
        lambda y: F.fold(F.unfold(y, 3, padding=1).flip(2), (SIDE, SIDE), 3, padding=1), WHOLE
    ),
    "windows slid": (lambda y: F.pad(y, [1] * 4).unfold(2, 3, 1).unfold(3, 3, 1).mean((4, 5)), "7x7 every 1"),
    "choice with a number": (lambda y: torch.where(y > 0.1, y, 0.0), ONCE),
    "Fourier transform": (lambda y: torch.fft.irfft2(torch.fft.rfft2(y)), WHOLE),
    "sampling": (sampled, WHOLE),
    "windows": (windows, WHOLE),
    "written over": (lambda y: torch.zeros_like(y).copy_(y), ONCE),
    "vector viewed as maps": (lambda y: y.flatten(1).view(-1, 4, SIDE, SIDE), WHOLE),
    "sorted": (lambda y: y.flatten(1).sort(1)[0].view(-1, 4, SIDE, SIDE), WHOLE),
}  # fmt: skip


@cache
def behind() -> Network:
    """One network of all: for each a convolution, the operator, a convolution, a batch norm, a ReLU.

    The capture of all takes seconds, once; of each by itself it would take longer.
    """

    class Together(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.ModuleList(nn.Conv2d(3, 4, 3, padding=1) for _ in BEHIND)
            second = (nn.Conv2d(1 if "shuffle" in name else 4, 4, 3, padding=1) for name in BEHIND)
            self.second = nn.ModuleList(nn.Sequential(own, nn.BatchNorm2d(4), nn.ReLU()) for own in second)

        def forward(self, x: Tensor) -> list[Tensor]:
            functions = [function for function, _ in BEHIND.values()]
            parts = zip(self.first, functions, self.second, strict=True)
            return [second(function(F.relu(first(x)))) for first, function, second in parts]

    torch.manual_seed(0)
    return captured(Together())


@pytest.mark.parametrize("index", range(len(BEHIND)), ids=list(BEHIND))
def test_layers_behind_any_operator(index):
    _, field = list(BEHIND.values())[index]
    layers = [behind().layer(f"second.{index}.{part}") for part in range(3)]
    assert [layer.is_default for layer in layers] == [False, False, True]
    assert {layer.shape for layer in layers} in [{(4, SIDE, SIDE)}, {(4, 2 * SIDE, 2 * SIDE)}]
    assert {describe_field(layer) for layer in layers} == {field}


def projects(name: str) -> bool:
    """Whether a rule covers every operator of a family, and no write into zeros is among them."""
    return "written" not in name and name not in ("windows", "holes")


@pytest.mark.parametrize(
    "index", [i for i, name in enumerate(BEHIND) if projects(name)], ids=filter(projects, BEHIND)
)
def test_layers_behind_any_operator_are_projected(index):
    rules = replace(DECONVNET, rectifier="identity")  # so that something arrives whatever the weights are
    net, image = behind(), torch.randn(1, 3, SIDE, SIDE, generator=torch.manual_seed(1))
    layer = net.layer(f"second.{index}.0")  # before its ReLU, where no unit is dead
    (unit,) = strongest(net, image, layer.name, channel=1)
    pixels = image.clone().requires_grad_()
    (out,) = apply_rules(net, [layer], rules)(pixels)
    value = out[0, 1, unit.row, unit.col]
    (expected,) = torch.autograd.grad(value, pixels, value.detach())
    torch.testing.assert_close(project(net, image, [unit], rules), expected)
    assert expected.any()


def test_no_convolution_behind_any_operator_is_unseen():
    assert unseen_convolutions(behind()) == ()
    assert behind().coverage().left_out == ()


def test_a_rectifier_alone_makes_maps_of_a_vector():
    """Decoders view a vector as maps; without a convolution nothing else says what its dimensions are."""
    decoder = Net(lambda x, up: F.relu(up(x.mean((2, 3)))).view(-1, 4, 6, 5).relu(), nn.Linear(3, 120))
    net = captured(decoder)
    assert [(own.name, own.shape, own.order) for own in net.default_layers] == [
        ("relu_1", (4, 6, 5), (0, 1, 2, 3))
    ]
    last = Net(lambda x, up: F.gelu(up(x.flatten(1).sort(1)[0].view(-1, 6, 8, 4))), nn.Linear(4, 5))
    assert [(own.shape, own.order) for own in captured(last).default_layers] == [((5, 6, 8), (0, 3, 1, 2))]


# --- attention ---------------------------------------------------------------------------------------------


class Reduced(nn.Module):
    """Attention of all positions to fewer keys, as PVT and SegFormer have it."""

    def __init__(self, by_hand: bool) -> None:
        super().__init__()
        self.reduce, self.by_hand = nn.Conv2d(8, 8, 2, 2), by_hand
        self.q, self.k, self.v = (nn.Linear(8, 8) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        tokens, fewer = x.flatten(2).mT, self.reduce(x).flatten(2).mT
        q, k, v = (
            own.unflatten(2, (2, 4)).transpose(1, 2) for own in (self.q(tokens), self.k(fewer), self.v(fewer))
        )
        mixed = (q @ k.mT).softmax(-1) @ v if self.by_hand else F.scaled_dot_product_attention(q, k, v)
        return (tokens + mixed.transpose(1, 2).flatten(2)).mT.reshape(x.shape)


@pytest.mark.parametrize("by_hand", [True, False])
def test_attention_with_reduced_keys_keeps_the_maps(by_hand):
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), Reduced(by_hand), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1)
    )  # fmt: skip
    net = captured(model)
    assert defaults(net) == ["0", "1.reduce", "3", "4"]
    assert [describe_field(net.layer(name)) for name in ("0", "1.reduce", "2")] == [
        "3x3 every 1", "4x4 every 2", "whole image"
    ]  # fmt: skip
    assert unseen_convolutions(net) == ()


# --- which convolutions count by their rectifier ------------------------------------------------------------


def like_hard_swish(x: Tensor) -> Tensor:
    return x * F.relu6(x + 2) / 5


def like_mish(x: Tensor) -> Tensor:
    return x * torch.tanh(F.softplus(2 * x))


def with_gate(x: Tensor, conv: nn.Module, squeeze: nn.Module, last: nn.Module) -> Tensor:
    y = conv(x)
    return last(y * squeeze(F.relu(y.mean((2, 3)))).sigmoid()[:, :, None, None])


def conv() -> nn.Module:
    return nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4))


CHOSEN = {
    "relu6 inside the activation": (
        lambda: nn.Sequential(conv(), Net(like_hard_swish), conv(), Net(like_hard_swish)), ["0.1", "2.1"]
    ),
    "softplus inside the activation": (
        lambda: nn.Sequential(conv(), Net(like_mish), conv(), Net(like_mish)), ["0.1", "2.1"]
    ),
    "ReLU inside the gate": (
        lambda: Net(with_gate, conv(), nn.Linear(4, 4), nn.Conv2d(4, 4, 1)), ["parts.0.1", "parts.2"]
    ),
    "ReLU of the pooled vector": (
        lambda: nn.Sequential(conv(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.ReLU()), ["0.1"]
    ),
    "ReLU behind the pool": (lambda: nn.Sequential(conv(), nn.MaxPool2d(2), nn.ReLU()), ["2"]),
    "ReLU behind the sum": (lambda: Net(lambda x, a: F.relu(x + a(x)), conv()), ["relu"]),
    "ReLU of one half": (
        lambda: Net(lambda x, a: torch.cat([F.relu(a(x)[:, :2]), x], 1), conv()), ["relu"]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHOSEN)
def test_a_convolution_counts_by_a_rectifier_on_its_own_way_to_the_output(name):
    make, expected = CHOSEN[name]
    net = captured(make(), channels=4)
    assert defaults(net) == expected
    assert unseen_convolutions(net) == ()


@pytest.mark.parametrize(
    "norm",
    [nn.InstanceNorm2d(4), nn.GroupNorm(2, 4), nn.LayerNorm([4, 8, 8]), lambda x: x - x.mean((2, 3), True)],
    ids=["instance", "group", "layer", "mean by hand"],
)
def test_behind_a_mean_over_positions_the_field_is_the_whole_image_for_every_unit(norm):
    class Normed(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
            self.norm = norm

        def forward(self, x):
            return self.last(torch.relu(self.norm(self.conv(x))))

    net = capture(Normed(), (3, 8, 8))
    field = net.layer("last").receptive_field
    assert field.is_whole
    assert not field.gates_ignored
    assert {field.box(row, col) for row in (0, 7) for col in (0, 3)} == {Box(0, 0, 8, 8)}
    assert not net.layer("conv").receptive_field.is_whole
    assert describe_field(net.layer("last")) == "whole image"


def test_a_module_whose_hook_changes_its_output_stays_a_layer():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU())
    model[2].register_forward_hook(lambda module, args, output: 2 * output)
    net = capture(model, (3, 9, 9))
    assert [layer.name for layer in net.default_layers] == ["2", "4"]
    x = torch.randn(2, 3, 9, 9)
    assert torch.equal(net(x), model.eval()(x))


def test_default_layers_are_the_rectified_maps_else_the_convolutions() -> None:
    squeezenet = captured_squeezenet()
    assert len(squeezenet.default_layers) == 26
    assert sum(layer.n_maps for layer in squeezenet.default_layers) == 3976
    mobilenet = capture(SMALL_ZOO["mobilenet_v2"](), (3, 64, 64))
    unrectified = [layer.name for layer in mobilenet.default_layers if not layer.rectified]
    assert unrectified[:2] == ["features.1.conv.2", "features.2.conv.3"]
    vgg = capture(torchvision.models.vgg16(init_weights=False).features, (3, 64, 64))
    assert sum(layer.n_maps for layer in vgg.default_layers) == 4224
