"""A graph of some layers made for running many inputs: batch norms folded, rectifiers in place, channels last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx

from backlight.network.class_output import Output, output_values
from backlight.network.cut import cut
from backlight.network.fold import fold_batch_norms
from backlight.network.layers import Layer
from backlight.network.network import Network
from backlight.operators.reading import aten, packet
from backlight.operators.table import is_convolution
from backlight.operators.views import views_channels

_NEW_OUTPUT = {aten.linear, aten.add, aten.mul, aten.cat}
"""Operators, beside convolutions, whose output is never a view of an input."""


_STEP_IMAGES = {"cpu": 4}


def step_images(device: torch.device) -> int:
    """Return how many images are best run at once: 4 on a CPU, whose cache holds the maps of a few; 32 elsewhere."""
    return _STEP_IMAGES.get(device.type, 32)


def rectify_in_place(module: fx.GraphModule) -> None:
    """Let ReLUs write over their input where nothing else reads it: no new memory to be touched."""
    for node in module.graph.find_nodes(op="call_function", target=aten.relu.default):
        # Written over in place, a view would change the tensor that it is a view of, and so what others read there.
        below = node.args[0]
        if len(below.users) == 1 and (is_convolution(below) or packet(below) in _NEW_OUTPUT):
            node.target = aten.relu_.default
    module.recompile()


class FastNetwork:
    """Runs a network up to some layers, and to one of its outputs if asked, without a gradient.

    Args:
        net: The captured network; later changes of its weights are not seen where a batch norm was folded.
        layers: The layers to compute.
        output: The output of the model to compute too; None for the layers alone.
        any_size: Whether inputs may have another height and width than the network's; only for graphs of local
            operators (`crops_of`), whose views leave rows and columns as they are.

    Attributes:
        graph: The module itself, through which a gradient of the inputs goes too.
    """

    def __init__(
        self, net: Network, layers: Sequence[Layer], output: Output | None = None, any_size: bool = False
    ) -> None:
        heads: list[tuple[fx.Node, tuple[int, ...] | None]] = [(net.node(own), own.order) for own in layers]
        if output is not None:
            value = output_values(net.module.graph)[output.index]
            assert isinstance(value, fx.Node)
            heads.append((value, None))
        self._home = net.device, net.dtype
        self.graph = fold_batch_norms(cut(net.module, heads, _view_any_size if any_size else None))
        rectify_in_place(self.graph)

    def __call__(self, batch: Tensor) -> tuple[Tensor, ...]:
        """Return the layers' activations, (n, c, h, w) or (n, c) each, and the output last, of inputs (n, c, h, w)."""
        with torch.no_grad():
            inputs = batch.to(*self._home).contiguous(memory_format=torch.channels_last)
            return tuple(self.graph(inputs))


def _view_any_size(
    graph: fx.Graph, node: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> fx.Node | None:
    """Let a view of channels, whose sizes are those of the network's input, take maps of any size."""
    return graph.call_function(_view_channels, args[:2]) if views_channels(node) else None


def _view_channels(maps: Tensor, sizes: Sequence[int]) -> Tensor:
    # (n, ..., h, w) -> (n, ..., h, w): the sizes between are the graph's, rows and columns those of the maps
    return maps.reshape(*sizes[:-2], *maps.shape[-2:])
