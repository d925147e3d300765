"""Low-pass before a stride: what is finer than the next grid can carry is taken out before maps are sampled on it.

A max pool takes its maxima at every position first, and a blur samples them. A convolution gets the stride 1, and a
blur samples what its rectifier makes of it: a trained network survives that best (docs/remedies.md has the comparison).
The cheap way is a blur before the convolution, which keeps its price. As both are linear, that is a blur of its outputs
before they are rectified, up to the border, and takes more from the rectified maps than it has to.

Blurred maps vary less than those that the batch norms behind them were trained on. Estimated anew on a few images, the
norms take back most of what a low-pass costs (docs/remedies.md).

*Source*: Zhang (2019), Making Convolutional Networks Shift-Invariant Again, section 3: binomial filters, MaxBlurPool.

*Differs*: the blur is as wide as the stride needs, 2 s - 1, and its border repeats the edge instead of reflecting it,
which works for maps of any size.
"""

from __future__ import annotations

from math import comb
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backlight.errors import BadInputError, RemedyError
from backlight.network import Network, OperatorClass
from backlight.operators.reading import operator_name, sizes_of
from backlight.operators.table import is_batch_norm
from backlight.studies.diagnosis.remedies.cutting import copy_of
from backlight.studies.diagnosis.remedies.norms import estimate_behind_
from backlight.studies.diagnosis.remedies.remedied import Remedied
from backlight.studies.diagnosis.remedies.sliding import Sliding, module_path, sliding_below
from backlight.studies.diagnosis.remedies.wiring import unwrapped

PLACES = ("before", "after")


class Blur(nn.Module):
    """A binomial low-pass of each map, sampled with a stride.

    Args:
        stride: The stride (rows, cols) of the grid that follows, for which it is wide enough.
        samples: Whether the blur samples with that stride itself.

    Example:
        >>> Blur((2, 1), samples=True)(torch.ones(1, 3, 5, 5)).shape
        torch.Size([1, 3, 3, 5])
    """

    def __init__(self, stride: tuple[int, int], samples: bool) -> None:
        super().__init__()
        self.wide, self.stride = stride, stride if samples else (1, 1)
        rows, cols = (_binomial(2 * own - 1) for own in stride)
        # not among the weights that are saved: they stay those of the network
        self.kernel: Tensor
        self.register_buffer("kernel", rows[:, None] * cols, persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps (n, c, h, w) blurred, ceil(h / stride) high."""
        n_maps = maps.shape[1]
        rows, cols = (own - 1 for own in self.wide)
        padded = F.pad(maps, (cols, cols, rows, rows), mode="replicate")
        kernel = self.kernel.to(maps.dtype).expand(n_maps, 1, -1, -1)
        return F.conv2d(padded, kernel, stride=self.stride, groups=n_maps)


def _binomial(length: int) -> Tensor:
    """Return a row of Pascal's triangle with sum 1: (1, 2, 1) / 4 for three."""
    row = torch.tensor([float(comb(length - 1, k)) for k in range(length)])
    return row / row.sum()


class BlurredConv2d(nn.Conv2d):
    """A convolution that reads its maps blurred; its weights have the names that they had."""

    blur: Blur

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolution of blurred maps (n, c, h, w)."""
        return super().forward(self.blur(input))


def low_pass(
    model: nn.Module,
    net: Network,
    layer: str | None = None,
    place: str = "after",
    images: Tensor | None = None,
) -> Remedied:
    """Return a copy of a model with a low-pass before its strides.

    Args:
        model: The model that was captured; it is not changed.
        net: The captured network.
        layer: A layer: of the strides below it, only the nearest gets a low-pass; None for all strides.
        place: Of convolutions: `after` the rectifier behind them, where they get the stride 1 and cost stride squared
            times as much, or `before` them. Of max pools the blur is always behind the maxima.
        images: (n, c, h, w) inputs, on which the batch norms behind the low-passes are estimated anew; None keeps them.

    Raises:
        BadInputError: There is no such place, or there is one image only.
        RemedyError: There is no stride, or what has it is not a module that can be replaced.

    *Convention*: average pools stay; they are low-passes themselves. Where no rectifier of its own is behind a
    convolution, the blur is before it in any case.

    Example:
        >>> import backlight
        >>> model = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.MaxPool2d(2)).eval()
        >>> new = low_pass(model, backlight.capture(model, (3, 16, 16))).model
        >>> new[0].stride, [type(own).__name__ for own in new[1]], list(new.state_dict())
        ((1, 1), ['ReLU', 'Blur'], ['0.weight', '0.bias'])
    """
    if place not in PLACES:
        raise BadInputError(f"place must be one of {', '.join(map(repr, PLACES))}, got {place!r}")
    found = [own for own in sliding_below(net, layer) if operator_name(own.node) != "avg_pool2d"]
    found = found if layer is None else found[-1:]
    if not found:
        raise RemedyError(f"nothing {'in ' + net.name if layer is None else f'below {layer!r}'} has a stride")
    new = copy_of(unwrapped(model, net))
    for own in found:
        _replace(new, net, own, place)
    done = f"low-pass before the stride of {', '.join(repr(own.where) for own in found)}"
    norms = "" if images is None else estimate_behind_(new, net, [own.node for own in found], images)
    return Remedied(new, f"low-pass ({place})", f"{done}; {norms}" if norms else done)


def _replace(model: nn.Module, net: Network, own: Sliding, place: str) -> None:
    path = module_path(net, own.node)
    module = model.get_submodule(path)
    if own.is_pool:
        _replace_pool(model, path, module, own)
    elif type(module) is not nn.Conv2d:
        raise RemedyError(f"{own.where!r} is a {type(module).__name__}, and not a plain Conv2d")
    elif place == "before" or (rectifier := _rectifier_behind(net, own)) is None:
        model.set_submodule(path, _blurred(module, own.stride))
    else:
        module.stride = (1, 1)
        model.set_submodule(
            rectifier, nn.Sequential(model.get_submodule(rectifier), Blur(own.stride, samples=True))
        )


def _replace_pool(model: nn.Module, path: str, module: Any, own: Sliding) -> None:
    given, made = sizes_of(own.below)[2:], sizes_of(own.node)[2:]
    dense = [
        size + 2 * pad - dilation * (kernel - 1)
        for size, pad, dilation, kernel in zip(given, own.padding, own.dilation, own.kernel, strict=True)
    ]
    # ceil(h / stride) rows of the dense maxima are what the pool gives, unless its last window hangs over the border
    if [-(-size // stride) for size, stride in zip(dense, own.stride, strict=True)] != list(made):
        raise RemedyError(f"the last windows of {own.where!r} hang over the border of its maps (ceil_mode)")
    module.stride = 1
    model.set_submodule(path, nn.Sequential(module, Blur(own.stride, samples=True)))


def _blurred(conv: nn.Conv2d, stride: tuple[int, int]) -> BlurredConv2d:
    with torch.device("meta"):
        new = BlurredConv2d(
            conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, conv.dilation,  # type: ignore[arg-type]
            conv.groups, conv.bias is not None, conv.padding_mode,
        )  # fmt: skip
    new.weight, new.bias = conv.weight, conv.bias
    new.blur = Blur(stride, samples=False).to(conv.weight.device)
    return new.train(conv.training)


def _rectifier_behind(net: Network, own: Sliding) -> str | None:
    """Return the path of the rectifier that alone reads a convolution or its batch norm; None without one."""
    node = own.node
    while len(node.users) == 1:
        node = next(iter(node.users))
        if net.analysis.classify(node) is OperatorClass.RECTIFIER:
            try:
                return module_path(net, node)
            except RemedyError:  # a function, or a module that other places share
                return None
        if not (is_batch_norm(node) or operator_name(node) == "getitem"):
            return None
    return None
