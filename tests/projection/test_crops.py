"""A cropped projection is the whole image's, for every unit, the border's included."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from backlight import DECONVNET, GUIDED, Unit, capture, project, strongest
from backlight.geometry import Axis, Box
from backlight.projection import MOST_UNITS, Projector
from backlight.projection.crops import AxisCrop, crops_of


class _Branches(nn.Module):
    """A strided and a dilated branch, a concatenation, an addition, overlapping pools that round up."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.left = nn.Conv2d(4, 3, 1)
        self.right = nn.Conv2d(4, 3, 3, padding=2, dilation=2)
        self.norm = nn.BatchNorm2d(6)
        self.down = nn.Conv2d(6, 6, 3, stride=2, padding=1)
        self.skip = nn.Conv2d(6, 6, 1, stride=2)
        self.average = nn.AvgPool2d(3, 1, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(torch.relu(self.stem(x)))
        x = torch.relu(self.norm(torch.cat([self.left(x), torch.relu(self.right(x))], 1)))
        return torch.relu(self.average(torch.relu(self.down(x) + self.skip(x))))


def stacked(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*layers)


class _Shuffling(nn.Module):
    """Two convolutions with a channel shuffle between, as ShuffleNet has it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3, 2), nn.Conv2d(6, 4, 3, padding=1, groups=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.first(x))
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        return torch.relu(self.second(x))


NETS = {
    "a channel shuffle": _Shuffling,
    "plain": lambda: stacked(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 3, padding=1), nn.ReLU()),
    "overlapping, no padding": lambda: stacked(nn.Conv2d(3, 4, 5, 2), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(4, 4, 3), nn.ReLU()),
    "rounding up": lambda: stacked(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()),
    "strides of 3": lambda: stacked(nn.Conv2d(3, 4, 4, 3, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1), nn.ReLU()),
    "branches": _Branches,
}  # fmt: skip


@pytest.mark.parametrize("rules", [DECONVNET, GUIDED], ids=lambda r: r.name)
@pytest.mark.parametrize("size", [(45, 52), (48, 47)])
@pytest.mark.parametrize("name", NETS)
def test_crops_give_what_whole_images_give(name: str, size: tuple[int, int], rules) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    net = capture(NETS[name]().double(), torch.zeros(3, *size).double())
    image = torch.randn(3, *size).double()
    n_cropped = 0
    for layer in net.default_layers:
        crops = crops_of(net, layer)
        if crops is None:
            continue
        projector, whole = Projector(net, [layer], rules, crops), Projector(net, [layer], rules)
        n_cropped += 1
        channels, height, width = layer.shape
        units = [Unit(layer.name, (r + c) % channels, r, c) for r in range(height) for c in range(width)]
        cropped, expected = (p([image], units, [0] * len(units)) for p in (projector, whole))
        torch.testing.assert_close(cropped.values, expected.values, rtol=1e-12, atol=1e-12)
        box = Box(0, 0, *size)
        for i in range(len(units)):
            torch.testing.assert_close(cropped.on(i, box), expected.on(i, box), rtol=1e-10, atol=1e-12)
    assert n_cropped >= 2


@given(
    size=st.integers(1, 40), strides=st.lists(st.sampled_from([1, 2, 3]), min_size=1, max_size=3),
    coarser=st.sampled_from([1, 2]), offset=st.integers(-20, 3), length=st.integers(41, 120),
)  # fmt: skip
def test_a_crop_holds_its_units_field_on_the_images_grid(size, strides, coarser, offset, length) -> None:  # type: ignore[no-untyped-def]
    jump = 1
    for stride in strides:
        jump *= stride
    axis = Axis(size, Fraction(jump), offset)
    crop = AxisCrop.of(axis, jump * coarser, length)
    assert crop.size <= length
    assert crop.size == length or (length - crop.size) % crop.grid == 0
    for index in range((length - offset) // jump):
        start, stop = (min(max(p, 0), length) for p in axis.span(index))
        first = crop.start(index)
        assert first % crop.grid == 0
        assert 0 <= first <= length - crop.size
        if start < stop:
            assert first <= start
            assert stop <= first + crop.size
        assert crop.inside(index) * jump + first == index * jump


def test_a_crop_is_not_much_larger_than_the_field() -> None:
    crop = AxisCrop.of(Axis(44, Fraction(4), -17), 4, 224)
    assert crop.size - 44 < 2 * 4 + 4


class _SqueezeExcite(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 1)
        self.after = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.conv(x))
        return torch.relu(self.after(x * torch.sigmoid(self.gate(x.mean((2, 3), keepdim=True)))))


class _Positions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bias = nn.Conv2d(3, 4, 3, padding=1), nn.Parameter(torch.randn(1, 4, 32, 32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.conv(x) + self.bias)


class _Rolled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.conv(torch.roll(x, 5, 2)))


class _Swapped(nn.Module):
    """An operator over channels that stands where the columns are, as audio networks normalise each frequency."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.conv = inner, nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.conv(self.inner(x.transpose(1, 3)).transpose(1, 3)))


class _Numbers(nn.Module):
    """Numbers of its own that are added to the image, or multiplied, or joined with it."""

    def __init__(self, *shape: int, last: bool = False) -> None:
        super().__init__()
        self.conv, self.last, self.numbers = (
            nn.Conv2d(3, 4, 3, padding=1),
            last,
            nn.Parameter(torch.randn(shape)),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        if self.last:
            return torch.relu((x.permute(0, 2, 3, 1) * self.numbers).permute(0, 3, 1, 2))
        return torch.relu(x + self.numbers)


class _Split(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        upper, lower = self.conv(x).split(16, 2)
        return torch.relu(upper + lower)


BOUND = {
    "a bias by position": _Positions,
    "rows rolled": _Rolled,
    "a batch norm of columns": lambda: _Swapped(nn.BatchNorm2d(32)),
    "a leaky slope for each column": lambda: _Swapped(nn.PReLU(32)),
    "a number for each column": lambda: _Numbers(32),
    "a number for each column, of one row": lambda: _Numbers(1, 32),
    "a number for each row": lambda: _Numbers(32, 1),
    "a number for each row, channels last": lambda: _Numbers(32, 1, 1, last=True),
    "a split of the rows": _Split,
}


@pytest.mark.parametrize("name", BOUND)
def test_what_is_bound_to_the_images_size_runs_on_whole_images(name: str) -> None:
    net = capture(BOUND[name]().eval(), (3, 32, 32))
    layer = net.layers[-1]
    assert crops_of(net, layer) is None
    image = torch.rand(3, 32, 32)
    unit = strongest(net, image, layer.name, 1)[0]
    found, value = project(net, image, unit, return_activations=True)
    assert value.item() > 0
    assert found.any()


FREE = {
    "a batch norm": lambda: stacked(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()),
    "a leaky slope for each map": lambda: stacked(nn.Conv2d(3, 4, 3), nn.PReLU(4)),
    "a leaky slope for all columns": lambda: _Swapped(nn.PReLU(1)),
    "a number for each map": lambda: _Numbers(4, 1, 1),
    "a number for each map, channels last": lambda: _Numbers(4, last=True),
    "one number": lambda: _Numbers(1),
}


@pytest.mark.parametrize("name", FREE)
def test_what_has_its_numbers_along_channels_runs_on_crops(name: str) -> None:
    net = capture(FREE[name]().eval(), (3, 32, 32))
    assert crops_of(net, net.layers[-1]) is not None


def test_layers_behind_a_gate_of_the_whole_image_run_on_whole_images() -> None:
    net = capture(_SqueezeExcite(), (3, 32, 32))
    assert crops_of(net, net.layer("relu")) is not None
    assert crops_of(net, net.layer("relu_1")) is None


def test_a_batch_holds_more_of_small_crops() -> None:
    net = capture(NETS["plain"](), (3, 64, 64))
    sizes = [Projector(net, [y], crops=crops_of(net, y), n_images=8).batch_size for y in net.default_layers]
    assert sizes[0] == MOST_UNITS
    assert 8 < sizes[1] <= MOST_UNITS
