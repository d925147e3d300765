"""Small networks of every kind of wiring that maps are cut out of, with random weights and statistics."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from backlight import Network, capture


def normed(n_in: int, n_out: int, size: int = 3, **options: int) -> list[nn.Module]:
    """Return a convolution and its batch norm."""
    return [nn.Conv2d(n_in, n_out, size, padding=size // 2, bias=False, **options), nn.BatchNorm2d(n_out)]


def chain(*, rectifier: Callable[[], nn.Module] = nn.ReLU) -> nn.Module:
    return nn.Sequential(
        *normed(3, 6), rectifier(), nn.MaxPool2d(2), *normed(6, 8), rectifier(), nn.Conv2d(8, 4, 1)
    )


class Fire(nn.Module):
    """Two convolutions side by side, concatenated: SqueezeNet's module."""

    def __init__(self) -> None:
        super().__init__()
        self.squeeze, self.one, self.three = (
            nn.Conv2d(3, 4, 1),
            nn.Conv2d(4, 5, 1),
            nn.Conv2d(4, 6, 3, padding=1),
        )
        self.relu1, self.relu2, self.relu3 = nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU()
        self.head = nn.Conv2d(11, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu1(self.squeeze(x))
        return self.head(torch.cat([self.relu2(self.one(x)), self.relu3(self.three(x))], 1))


def depthwise() -> nn.Module:
    return nn.Sequential(
        *normed(3, 6), nn.ReLU(), *normed(6, 6, groups=6), nn.ReLU6(), *normed(6, 8, 1), nn.ReLU(),
        *normed(8, 16, groups=8), nn.ReLU(), nn.Conv2d(16, 2, 1),
    )  # fmt: skip


def flattened() -> nn.Module:
    """Return a network whose linear map has h x w columns for each map."""
    return nn.Sequential(
        *normed(3, 5), nn.PReLU(5), nn.AvgPool2d(2), nn.Flatten(), nn.Dropout(), nn.Linear(80, 7), nn.ReLU(),
        nn.BatchNorm1d(7), nn.Linear(7, 3),
    )  # fmt: skip


class Residual(nn.Module):
    """A sum of two ways."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inside, self.outside = (
            nn.Conv2d(a, b, 3, padding=1) for a, b in ((3, 4), (4, 5), (5, 4))
        )
        self.head = nn.Conv2d(4, 2, 1)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.stem(x))
        return self.head(self.relu(x + self.outside(self.relu(self.inside(x)))))


def grouped() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=2), nn.ReLU(), nn.Conv2d(8, 2, 1)
    )


class Gated(nn.Module):
    """A squeeze-excite: a factor for each map, made from all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 2, 1)
        self.down, self.up = nn.Linear(6, 2), nn.Linear(2, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv(x))
        factor = torch.sigmoid(self.up(F.relu(self.down(x.mean((2, 3))))))
        return self.head(x * factor[:, :, None, None])


class Baked(nn.Module):
    """A forward that holds the number of maps as a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv(x))
        return self.head(x.view(len(x), 4, -1).mean(2))


class Shuffled(nn.Module):
    """Maps that are turned around in threes, split, scaled by weights of their own, and padded."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.left, self.right = nn.Conv2d(3, 6, 3), nn.Conv2d(4, 2, 1), nn.ConvTranspose2d(2, 2, 3)
        self.scale = nn.Parameter(torch.rand(6, 1, 1) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv(x)) * self.scale
        x = x.flip(1)
        left, right = x[:, :4], x[:, 4:]
        return self.left(F.pad(left, (1, 1, 1, 1))) + self.right(right)


def channels_last() -> nn.Module:
    class ChannelsLast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.one, self.two = nn.Conv2d(3, 5, 3), nn.Linear(5, 6), nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = F.relu(self.conv(x)).permute(0, 2, 3, 1)
            return self.two(F.gelu(self.one(x))).mean((1, 2))

    return ChannelsLast()


SIDE = 8


def made(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """Return a network in inference mode, whose batch norms have statistics as if they had been trained."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = make().eval()
        for own in model.modules():
            if isinstance(own, nn.modules.batchnorm._BatchNorm):
                own.running_mean.normal_(0, 0.2)
                own.running_var.uniform_(0.5, 2)
                if own.affine:
                    nn.init.uniform_(own.weight, 0.5, 1.5)
                    nn.init.normal_(own.bias, 0, 0.3)
    return model


@cache
def captured(make: Callable[[], nn.Module]) -> tuple[nn.Module, Network]:
    """Return such a network, captured; shared between tests, so not to be changed."""
    model = made(make)
    return model, capture(model, (3, SIDE, SIDE))
