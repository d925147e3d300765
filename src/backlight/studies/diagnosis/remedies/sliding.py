"""What slides over maps with a stride: convolutions and pools, their windows, and the modules that they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import fx

from backlight.errors import RemedyError
from backlight.network import Network
from backlight.network.names import is_leaf_module
from backlight.operators.convolution import convolution_options
from backlight.operators.pooling import pool_options
from backlight.operators.reading import operator_name, sizes_of
from backlight.operators.table import is_convolution

_POOLS = ("max_pool2d", "avg_pool2d")


@dataclass(frozen=True)
class Sliding:
    """A convolution or pool over maps.

    Attributes:
        node: Its node.
        where: Its place, in the user's words.
        is_pool: Whether it is a pool.
        kernel: (kh, kw).
        stride: (rows, cols).
        padding: (rows, cols), on each side.
        dilation: (rows, cols).
    """

    node: fx.Node
    where: str
    is_pool: bool
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]

    @property
    def below(self) -> fx.Node:
        """What it slides over."""
        below = self.node.args[0]
        assert isinstance(below, fx.Node)
        return below

    def left_over(self, sizes: Sequence[int]) -> tuple[int, int]:
        """Return how many rows and columns of padded maps (h, w) its last window does not reach.

        *Source*: Alsallakh et al. (2021), Mind the Pad, section 3: padding is applied evenly where nothing is left.
        """
        rows, cols = (
            (size + 2 * pad - dilation * (kernel - 1) - 1) % stride
            for size, pad, dilation, kernel, stride in zip(
                sizes, self.padding, self.dilation, self.kernel, self.stride, strict=True
            )
        )
        return rows, cols


def sliding_below(net: Network, layer: str | None = None, *, strided: bool = True) -> list[Sliding]:
    """Return what slides over maps on the way to a layer, in the order of the graph.

    Args:
        net: The captured network.
        layer: The layer; None for all of the network.
        strided: Whether only what has a stride counts.
    """
    path = None if layer is None else set(net.analysis.path([net.node(layer)]))
    found = []
    for node in net.module.graph.nodes:
        own = _sliding(net, node) if path is None or node in path else None
        if own is not None and (max(own.stride) > 1 or not strided):
            found.append(own)
    return found


def _sliding(net: Network, node: fx.Node) -> Sliding | None:
    if node.op != "call_function" or len(sizes_of(node)) != 4:
        return None
    if operator_name(node) in _POOLS:
        given, kernel = pool_options(node), pool_options(node)["kernel_size"]
    elif is_convolution(node) and "transpose" not in operator_name(node):
        weight = node.args[1]
        assert isinstance(weight, fx.Node)
        given, kernel = convolution_options(node), sizes_of(weight)[2:]
    else:
        return None
    if isinstance(given["padding"][0], str):  # "same" or "valid", which have no stride
        return None
    pairs = [
        (int(own[0]), int(own[1])) for own in (kernel, *(given[k] for k in ("stride", "padding", "dilation")))
    ]
    return Sliding(node, net.where(node), operator_name(node) in _POOLS, *pairs)


def module_path(net: Network, node: fx.Node) -> str:
    """Return the path of the module that a node is the call of.

    Raises:
        RemedyError: It is a function's call, or its module is called more than once.
    """
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path, kind = stack[-1] if stack else ("", "")
    if not path or not is_leaf_module(kind):
        raise RemedyError(f"{net.where(node)!r} is called as a function and not as a module of torch.nn")
    calls = {
        key
        for other in net.module.graph.nodes
        for key, (own, _) in (other.meta.get("nn_module_stack") or {}).items()
        if own == path
    }
    if len(calls) > 1:
        raise RemedyError(f"the module {path!r} is called at {len(calls)} places of the network")
    return path
