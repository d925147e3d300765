"""The parts that planted networks are built of: layers whose weights are set by hand."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def conv(weight: Tensor, bias: Tensor | None = None, stride: int = 1, padding: int = 0) -> nn.Conv2d:
    """Return the convolution with these weights (out, in, h, w)."""
    n_out, n_in, *kernel = weight.shape
    made = nn.Conv2d(n_in, n_out, tuple(kernel), stride, padding, bias=bias is not None)
    with torch.no_grad():
        made.weight.copy_(weight)
        if bias is not None and made.bias is not None:
            made.bias.copy_(bias)
    return made


def matched_filters(patterns: list[Tensor], threshold: float, stride: int, padding: int = 0) -> nn.Conv2d:
    """Return detectors whose answer to their own pattern (3, p, p) is 1, minus the threshold."""
    weight = torch.stack([pattern / pattern.square().sum() for pattern in patterns])
    return conv(weight, torch.full((len(patterns),), -threshold), stride, padding)


def relay(gains: Tensor) -> nn.Conv2d:
    """Return a 1 x 1 convolution that passes each map on, times its gain."""
    return conv(torch.diag(gains)[:, :, None, None])


def gather(n_maps: int, kernel: int, stride: int) -> nn.Conv2d:
    """Return a strided convolution that adds up each map in its window: a pool without switches."""
    return conv(torch.eye(n_maps)[:, :, None, None].expand(-1, -1, kernel, kernel), stride=stride)


class Residual(nn.Module):
    """A residual block: adds one map, summed over 3 x 3, to another map.

    Args:
        n_maps: How many maps pass.
        around: The map that is summed up.
        to: The map that the sum is added to.
    """

    def __init__(self, n_maps: int, around: int, to: int) -> None:
        super().__init__()
        first, second = torch.zeros(1, n_maps, 3, 3), torch.zeros(n_maps, 1, 1, 1)
        first[0, around], second[to] = 1.0, 1.0
        self.first, self.second = conv(first, padding=1), conv(second)
        self.inside, self.after = nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Return maps of the same shape."""
        return self.after(x + self.second(self.inside(self.first(x))))


class Branches(nn.Module):
    """The maps of two branches, concatenated."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor) -> Tensor:
        """Return the maps of the first branch, then those of the second."""
        return torch.cat([self.first(x), self.second(x)], 1)


def absolute(model: nn.Module) -> nn.Module:
    """Change a network so that no path to a unit cancels or closes, and return it: for finding what a unit can see."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Conv2d):
                child.weight.data.abs_()
                if child.bias is not None:
                    child.bias.data.zero_()
            elif isinstance(child, nn.ReLU):
                setattr(module, name, nn.Identity())
            elif isinstance(child, nn.MaxPool2d):
                setattr(module, name, nn.AvgPool2d(child.kernel_size, child.stride))
    return model
