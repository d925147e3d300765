"""Counting operations: the cone of one unit in the backward pass, and a forward pass.

The cone of a unit is what its signal can reach in the backward pass: a window of positions at every operator below
the layer. Written independently of the library, which it measures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import fx
from torch._subclasses import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from backlight.network import Layer, Network
from backlight.operators.reading import arguments, packet, sizes_of
from backlight.operators.table import is_convolution

Span = tuple[int, int]
Window = tuple[Span, Span]
"""Rows and columns of a map, half-open."""

_SLIDING = {"conv2d", "max_pool2d", "avg_pool2d"}


def cone_multiply_adds(net: Network, layer: Layer, row: int, col: int) -> int:
    """Return the multiply-adds of the convolutions that carry the signal of one unit back to the pixels.

    A convolution counts, for every position of the signal's window on its output that lies inside the map: kernel
    area x input channels x output channels that carry a signal. At first only the unit's own channel does; below the
    first convolution they all do. Positions that max pooling leaves empty inside a window are counted.

    Raises:
        NotImplementedError: An operator below the layer changes the size of the maps in an unknown way.
    """
    head = net.node(layer)
    windows: dict[fx.Node, Window] = {head: ((row, row + 1), (col, col + 1))}
    mixed: set[fx.Node] = set()  # nodes whose signal has spread to all channels
    total = 0
    for node in reversed(net.module.graph.nodes):
        if node not in windows or node.op == "placeholder":
            continue
        if is_convolution(node):
            total += _multiply_adds(node, windows[node], node in mixed)
        for below in net.analysis.signal_inputs(node):
            window = _seen(node, windows[node], below)
            windows[below] = _union(windows[below], window) if below in windows else window
            if node in mixed or is_convolution(node):
                mixed.add(below)
    return total


def _multiply_adds(node: fx.Node, window: Window, all_channels: bool) -> int:
    (top, bottom), (left, right) = window
    n_out, n_in, height, width = sizes_of(arguments(node)["weight"])  # n_in: per group
    return (bottom - top) * (right - left) * (n_out if all_channels else 1) * n_in * height * width


def _seen(node: fx.Node, window: Window, below: fx.Node) -> Window:
    """Return the window of an operator's input that a window of its output reaches."""
    sizes = sizes_of(below)[-2:]
    name = packet(node).__name__
    if name not in _SLIDING:
        if sizes_of(node)[-2:] != sizes:
            raise NotImplementedError(f"the window below {name} is not known")
        return window
    given = arguments(node)
    kernel = sizes_of(given["weight"])[2:] if is_convolution(node) else _pair(given["kernel_size"])
    steps = zip(
        window,
        kernel,
        _pair(given["stride"] or kernel),
        _pair(given["padding"]),
        _dilations(node),
        strict=True,
    )
    rows, cols = (
        (
            max(start * stride - pad, 0),
            min((stop - 1) * stride - pad + dilation * (reach - 1) + 1, size),
        )
        for size, ((start, stop), reach, stride, pad, dilation) in zip(sizes, steps, strict=True)
    )
    return rows, cols


def _dilations(node: fx.Node) -> Sequence[int]:
    return _pair(arguments(node)["dilation"]) if "dilation" in arguments(node) else (1, 1)


def _pair(value: Any) -> Sequence[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * 2 if len(values) == 1 else values


def _union(one: Window, other: Window) -> Window:
    rows, cols = ((min(a[0], b[0]), max(a[1], b[1])) for a, b in zip(one, other, strict=True))
    return rows, cols


def forward_multiply_adds(
    net: Network, layers: Sequence[Layer] | None = None, size: tuple[int, int] | None = None
) -> int:
    """Return the multiply-adds of one forward pass, without computing it.

    Args:
        net: The network.
        layers: Where the pass ends; None for the network's output.
        size: Height and width of the input; None for the network's own.
    """
    channels, *own = net.input_shape
    module = net.module if layers is None else net.features(layers)
    with (
        FakeTensorMode(allow_non_fake_inputs=True),
        torch.no_grad(),
        FlopCounterMode(display=False) as counter,
    ):
        module(torch.empty(1, channels, *(size or own), dtype=net.dtype))
    return counter.get_total_flops() // 2
