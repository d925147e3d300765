"""Stages: the layers that one convolution makes, with its filters as the batch norm behind them leaves them.

A batch norm scales each filter, so the scale of a stored filter means nothing. What the layer computes is the folded
filter, and it is that one which is compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch.nn import functional

from backlight.network import Layer, Network
from backlight.network.cut import cut
from backlight.network.fold import fold_batch_norms
from backlight.operators.convolution import convolution_options
from backlight.operators.reading import aten, operator_name, options_of, packet
from backlight.operators.table import is_batch_norm, is_convolution


@dataclass(frozen=True, eq=False)
class Stage:
    """A layer that one convolution makes, with nothing but a batch norm and a rectifier behind it.

    Attributes:
        layer: The layer.
        weight: (c, c_in / groups, kh, kw) the filters, a batch norm folded in.
        bias: (c,) the biases, folded too.
        stride: Rows and columns.
        padding: Rows and columns.
        dilation: Rows and columns.
        groups: Groups of the convolution.
        is_normalised: Whether a batch norm stands behind the convolution.
        is_first: Whether it reads the image itself.
    """

    layer: Layer
    weight: Tensor
    bias: Tensor
    stride: tuple[int, int]
    padding: tuple[int, int] | str
    dilation: tuple[int, int]
    groups: int
    is_normalised: bool
    is_first: bool

    def respond(self, below: Tensor, weight: Tensor | None = None, stride: int | None = None) -> Tensor:
        """Return what the filters, or others in their place, give before the rectifier."""
        return functional.conv2d(
            below,
            self.weight if weight is None else weight,
            self.bias,
            self.stride if stride is None else stride,
            self.padding,
            self.dilation,
            self.groups,
        )


class Stages:
    """The stages of some layers of a network, and what they read.

    Args:
        net: The captured network.
        layers: The layers.

    Attributes:
        by_layer: The stage of each layer that has one, by its name.
    """

    def __init__(self, net: Network, layers: Sequence[Layer]) -> None:
        heads = [net.node(layer) for layer in layers]
        folded = fold_batch_norms(cut(net.module, [(node, None) for node in heads]))
        (returned,) = folded.graph.find_nodes(op="output")
        self.by_layer: dict[str, Stage] = {}
        self._home, below = (net.device, net.dtype), list[tuple[fx.Node, None]]()
        for layer, node, original in zip(layers, returned.args[0], heads, strict=True):
            conv = _convolution_of(layer, node)
            if conv is not None and (stage := _stage(folded, layer, conv, original)) is not None:
                read: Any = conv.args[0]
                self.by_layer[layer.name] = stage
                below.append((read, None))
        self._below = cut(folded, below) if below else None

    def below(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return by layer what its convolution reads for some inputs, (n, c_in, h, w)."""
        if self._below is None:
            return {}
        with torch.no_grad():
            values = self._below(inputs.to(*self._home))
        return dict(zip(self.by_layer, values, strict=True))


def _convolution_of(layer: Layer, node: Any) -> fx.Node | None:
    """Return the convolution that alone makes a layer; None where there is none."""
    if layer.rectified:
        node = node.args[0]
    while isinstance(node, fx.Node) and operator_name(node) == "getitem":
        node = node.args[0]
    is_own = isinstance(node, fx.Node) and packet(node) in (aten.conv2d, aten.convolution)
    return node if is_own and not options_of(node, node.args, node.kwargs).get("transposed") else None


def _stage(folded: fx.GraphModule, layer: Layer, conv: fx.Node, original: fx.Node) -> Stage | None:
    """Return the stage of a convolution; None where its filters are not plain weights of two dimensions."""
    given, options = options_of(conv, conv.args, conv.kwargs), convolution_options(conv)
    weight, bias = (_buffer(folded, given.get(name)) for name in ("weight", "bias"))
    if weight is None or weight.dim() != 4 or (bias is None and given.get("bias") is not None):
        return None
    padding = options["padding"]
    below: Any = conv.args[0]
    return Stage(
        layer=layer,
        weight=weight,
        bias=weight.new_zeros(len(weight)) if bias is None else bias,
        stride=tuple(options["stride"]),
        padding=padding[0] if isinstance(padding[0], str) else tuple(padding),
        dilation=tuple(options["dilation"]),
        groups=options["groups"],
        is_normalised=_has_norm(original),
        is_first=below.op == "placeholder",
    )


def _buffer(module: fx.GraphModule, node: Any) -> Tensor | None:
    is_stored = isinstance(node, fx.Node) and node.op == "get_attr"
    return module.get_buffer(str(node.target)) if is_stored else None


def _has_norm(node: Any) -> bool:
    """Return whether a batch norm stands between a layer and its convolution."""
    while isinstance(node, fx.Node) and node.op == "call_function" and not is_convolution(node):
        if is_batch_norm(node):
            return True
        node = node.args[0]
    return False
