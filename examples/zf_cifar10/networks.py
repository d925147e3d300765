"""AlexNet, its correction by Zeiler & Fergus, and the variants of their Table 3, for images of 32x32 pixels.

Both have the paper's order of layers: five convolutions and three fully connected layers, ReLU, overlapping max pools.
They differ where the paper changes AlexNet: the first filters are smaller and their stride is half as large, and the
stride of the second layer makes up for it, so that layers 3 to 5 see the same number of positions.

*Differs*: strides are the paper's, 4 and 2 pixels, because the stride in pixels decides which frequencies fold. Filters
of 11x11 would be a third of such an image, so 8x8 and 5x5 stand for 11x11 and 7x7 (1.6 to 1, as there). There is no
pool after layer 2: without it, layers 3 to 5 see 4x4 positions. No local response normalisation. A third to a quarter
of the paper's maps, a sixteenth of its fully connected units.

*Source*: Zeiler & Fergus (2013), Figure 3, section 4.1, Table 3.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import nn

SIDE, CLASSES = 32, 10


@dataclass(frozen=True)
class Shape:
    """What differs from network to network.

    Attributes:
        first: Size, stride and padding of the first filters.
        second_stride: Stride of the second layer.
        maps: Feature maps of layers 1 to 5; None for a layer that is left out.
        units: Units of the fully connected layers 6 and 7; none for those that are left out.
    """

    first: tuple[int, int, int]
    second_stride: int
    maps: tuple[int | None, ...] = (32, 64, 96, 96, 64)
    units: tuple[int, ...] = (256, 256)


ALEXNET = Shape(first=(8, 4, 2), second_stride=1)
ZF = Shape(first=(5, 2, 2), second_stride=2)

SHAPES = {
    "alexnet": ALEXNET,
    "zf": ZF,
    "zf_clipped": ZF,
    "alexnet_without_3_4": replace(ALEXNET, maps=(32, 64, None, None, 64)),
    "alexnet_without_7": replace(ALEXNET, units=(256,)),
    "alexnet_without_6_7": replace(ALEXNET, units=()),
    "alexnet_without_3_4_6_7": replace(ALEXNET, maps=(32, 64, None, None, 64), units=()),
    "zf_half_fc": replace(ZF, units=(128, 128)),
    "zf_double_fc": replace(ZF, units=(512, 512)),
    "zf_half_conv": replace(ZF, maps=(32, 64, 48, 48, 32)),
    "zf_double_conv": replace(ZF, maps=(32, 64, 192, 192, 128)),
    "zf_double_conv_fc": replace(ZF, maps=(32, 64, 192, 192, 128), units=(512, 512)),
}
"""The networks by name: three to be compared, then the variants of Table 3."""

PAPER_INPUTS = {
    3 * 8 * 8: 3 * 11 * 11,
    3 * 5 * 5: 3 * 7 * 7,
    "conv2": 96 * 5 * 5,
    "conv3": 256 * 3 * 3,
    "conv4": 384 * 3 * 3,
    "conv5": 384 * 3 * 3,
    "fc6": 256 * 6 * 6,
    "fc7": 4096,
    "fc8": 4096,
}
"""Inputs of a filter in the paper's networks, by layer; those of the first layer by the inputs here."""

CLIPPED = {"zf_clipped"}
"""Those whose filters are renormalised while they are trained."""


def make(name: str) -> nn.Sequential:
    """Return a network with random weights, from torch's random numbers."""
    return build(SHAPES[name])


# What `backlight COMMAND examples/zf_cifar10/networks.py:NAME` calls.
alexnet = partial(make, "alexnet")
zf = partial(make, "zf")
zf_clipped = partial(make, "zf_clipped")
alexnet_without_3_4 = partial(make, "alexnet_without_3_4")
alexnet_without_7 = partial(make, "alexnet_without_7")
alexnet_without_6_7 = partial(make, "alexnet_without_6_7")
alexnet_without_3_4_6_7 = partial(make, "alexnet_without_3_4_6_7")
zf_half_fc = partial(make, "zf_half_fc")
zf_double_fc = partial(make, "zf_double_fc")
zf_half_conv = partial(make, "zf_half_conv")
zf_double_conv = partial(make, "zf_double_conv")
zf_double_conv_fc = partial(make, "zf_double_conv_fc")


def build(shape: Shape) -> nn.Sequential:
    """Return a network of a shape.

    *Convention*: the paper draws weights from N(0, 0.01²). A layer with fewer inputs than there draws larger ones, by
    the root of the ratio, so that the signal is as strong as there and its learning rate fits.
    """
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    n_in, side = 3, SIDE
    for i, n_out in enumerate(shape.maps, 1):
        if n_out is None:
            continue
        size, stride, padding = {1: shape.first, 2: (5, shape.second_stride, 2)}.get(i, (3, 1, 1))
        parts[f"conv{i}"] = nn.Conv2d(n_in, n_out, size, stride, padding)
        parts[f"relu{i}"] = nn.ReLU()
        n_in, side = n_out, (side + 2 * padding - size) // stride + 1
        if i in (1, 5):
            parts[f"pool{i}"] = nn.MaxPool2d(3, 2, 1)
            side = (side - 1) // 2 + 1
    parts["flatten"] = nn.Flatten()
    n_in *= side * side
    for i, n_out in enumerate(shape.units, 6):
        parts[f"fc{i}"] = nn.Linear(n_in, n_out)
        parts[f"relu{i}"], parts[f"drop{i}"] = nn.ReLU(), nn.Dropout(0.5)
        n_in = n_out
    parts["fc8"] = nn.Linear(n_in, CLASSES)
    model = nn.Sequential(parts)
    _draw(model)
    return model


@torch.no_grad()
def _draw(model: nn.Sequential) -> None:
    for name, layer in model.named_children():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            inputs = layer.weight[0].numel()
            in_paper = PAPER_INPUTS[inputs] if name == "conv1" else PAPER_INPUTS[name]
            nn.init.normal_(layer.weight, 0, 0.01 * (in_paper / inputs) ** 0.5)
            nn.init.zeros_(layer.bias)
