"""The first convolution, whose backward pass is slow in CPU libraries because pixels have so few colours.

A convolution of stride s spreads each activation over the pixels. Pixels whose row and column leave the same remainders
when divided by s (one of s·s *phases*) get their shares through the same weights, so the gradient with respect to c
colours is a convolution of stride 1 with s·s·c channels, which are then laid out as pixels. It is the same sum in
another order, and takes half the time or less.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from backlight.operators.convolution import convolution_options
from backlight.operators.reading import aten, packet, shape_of

_MOST_COLOURS = 4


def speed_up_stem(module: fx.GraphModule) -> None:
    """Compute the backward pass of strided convolutions of the pixels by phases; changes the module in place."""
    for node in module.graph.nodes:
        if node.op == "call_function" and packet(node) is aten.conv2d and _is_stem(node):
            options = convolution_options(node)
            bias = node.args[2] if len(node.args) > 2 else node.kwargs.get("bias")
            node.args = (node.args[0], node.args[1], bias, options["stride"], options["padding"])
            node.kwargs, node.target = {}, strided_convolution
    module.recompile()


def _is_stem(node: fx.Node) -> bool:
    pixels, weight = node.args[0], node.args[1]
    assert isinstance(pixels, fx.Node)
    assert isinstance(weight, fx.Node)
    sizes, options = shape_of(pixels), convolution_options(node)
    return (
        pixels.op == "placeholder"
        and weight.op == "get_attr"
        and sizes is not None
        and int(sizes[1]) <= _MOST_COLOURS
        and options["groups"] == 1
        and options["dilation"] == [1, 1]
        and max(options["stride"]) > 1
        and not isinstance(options["padding"][0], str)
    )


def strided_convolution(
    pixels: Tensor, weight: Tensor, bias: Tensor | None, stride: Sequence[int], padding: Sequence[int]
) -> Tensor:
    """Return a convolution; only the pixels get a gradient."""
    done: Tensor = _ByPhases.apply(pixels, weight, bias, tuple(stride), tuple(padding))
    return done


class _ByPhases(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        pixels: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: tuple[int, int],
        padding: tuple[int, int],
    ) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.sizes, ctx.stride, ctx.padding = pixels.shape[2:], stride, padding
        return F.conv2d(pixels, weight, bias, stride, padding)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        return _pass_back(gradient, weight, ctx.sizes, ctx.stride, ctx.padding), None, None, None, None


def _pass_back(
    gradient: Tensor,
    weight: Tensor,
    sizes: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
) -> Tensor:
    """Return the gradient at the pixels, (n, c, h, w) with (h, w) as in sizes."""
    colours = weight.shape[1]
    # (sh·sw·c, o, mh, mw). Padding by mh - 1 and mw - 1 lets every activation reach all of its pixels.
    phases = _phases(weight, stride)
    reach = [side - 1 for side in phases.shape[2:]]
    spread = F.conv2d(gradient, phases, padding=reach)
    n, _, rows, cols = spread.shape  # (n, sh·sw·c, rows, cols), rows and cols counting strides
    # A pixel's row is row * sh + phase, its column likewise:
    # (n, sh, sw, c, rows, cols) -> (n, c, rows, sh, cols, sw) -> (n, c, rows·sh, cols·sw).
    spread = spread.view(n, stride[0], stride[1], colours, rows, cols).permute(0, 3, 4, 1, 5, 2)
    whole = spread.reshape(n, colours, rows * stride[0], cols * stride[1])
    # `whole` begins with the padding above the image: cut the image out. Last pixels that no filter reads are zero.
    (top, left), (height, width) = padding, sizes
    below, right = top + height - whole.shape[2], left + width - whole.shape[3]
    if below > 0 or right > 0:
        whole = F.pad(whole, (0, max(right, 0), 0, max(below, 0)))
    return whole[:, :, top : top + height, left : left + width]


def _phases(weight: Tensor, stride: tuple[int, int]) -> Tensor:
    """Return the weights (s·s·c, o, mh, mw) of the convolution that takes gradients to the phases of the pixels."""
    n_out, colours, height, width = weight.shape
    (up, left), (mh, mw) = stride, (-(-height // stride[0]), -(-width // stride[1]))
    # Zeros fill up the last stride: (o, c, mh·sh, mw·sw). Kernel row k belongs to phase k % sh, k // sh strides away:
    # (o, c, mh, sh, mw, sw) -> (sh, sw, c, o, mh, mw).
    padded = F.pad(weight, (0, mw * left - width, 0, mh * up - height))
    split = padded.view(n_out, colours, mh, up, mw, left).permute(3, 5, 1, 0, 2, 4)
    # `conv2d` correlates, so the strides are turned around to convolve.
    return split.flip(4, 5).reshape(up * left * colours, n_out, mh, mw)
