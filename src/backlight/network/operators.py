"""The classes of operators: what each ATen operator is on the way down to the pixels.

A captured network is a functional graph, and every operator in it that a signal can pass belongs to one class
(DESIGN, "One idea"). The class depends on the node and not only on the operator: a product with a constant is
linear, a product of two signals is a gate.

*Source*: METHODS.md 5 (the rule book) and 4.1.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from enum import StrEnum
from functools import cache
from typing import Any

import torch
from torch import fx

aten = torch.ops.aten


class OperatorClass(StrEnum):
    """What an operator does with a signal on its way down."""

    LINEAR = "linear"
    SELECTOR = "selector"
    GATE = "gate"
    RECTIFIER = "rectifier"
    CONSTANT = "constant"
    UNKNOWN = "unknown"


def _packets(names: str) -> frozenset[Any]:
    return frozenset(getattr(aten, name) for name in names.split() if hasattr(aten, name))


CONVOLUTIONS = _packets("conv1d conv2d conv3d convolution conv_transpose1d conv_transpose2d conv_transpose3d")
BATCH_NORMS = _packets("_native_batch_norm_legit_no_training batch_norm")
NORMALISATIONS = _packets(
    "layer_norm native_layer_norm group_norm native_group_norm instance_norm rms_norm _fused_rms_norm"
)
AVERAGE_POOLS = _packets("avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d mean")
MAX_POOLS = _packets("max_pool1d max_pool2d max_pool3d max_pool2d_with_indices adaptive_max_pool2d")
ATTENTION = _packets("scaled_dot_product_attention")
RECTIFIERS = _packets(
    "relu relu6 leaky_relu prelu _prelu_kernel rrelu threshold elu celu selu gelu silu mish hardswish softplus"
)
CLAMPS = _packets("hardtanh clamp clamp_min clip")
SQUASHES = _packets("sigmoid hardsigmoid tanh softmax _softmax log_softmax log_sigmoid exp")

_LINEAR_OF_FIRST = (
    CONVOLUTIONS
    | BATCH_NORMS
    | AVERAGE_POOLS
    | _packets(
        "linear addmm mm bmm matmul mv baddbmm einsum mul div rsub true_divide"
        " sum cumsum neg alias clone contiguous detach _to_copy to lift_fresh_copy dropout feature_dropout"
        " view _unsafe_view reshape view_as flatten unflatten permute transpose t movedim squeeze unsqueeze"
        " expand expand_as broadcast_to repeat repeat_interleave tile"
        " select slice narrow split split_with_sizes chunk unbind index index_select gather take_along_dim"
        " unfold im2col col2im roll flip rot90 pad constant_pad_nd reflection_pad2d replication_pad2d"
        " pixel_shuffle pixel_unshuffle channel_shuffle"
        " upsample_nearest1d upsample_nearest2d _upsample_nearest_exact2d upsample_bilinear2d"
        " upsample_bicubic2d _upsample_bilinear2d_aa _upsample_bicubic2d_aa"
        " fft_rfft2 fft_irfft2 fft_fft2 fft_ifft2 _fft_r2c _fft_c2r _fft_c2c view_as_real view_as_complex"
        " copy type_as reshape_as"
    )
)
_ELEMENTWISE_OR_VIEW = _LINEAR_OF_FIRST - CONVOLUTIONS - BATCH_NORMS - _packets(
    "linear addmm mm bmm matmul mv baddbmm einsum mean sum"
) | _packets("add sub")
_LINEAR_OF_ALL = _packets("add sub cat stack concat hstack vstack where masked_fill slice_scatter select_scatter")
_MAXIMA = _packets("maximum max")
_SELECTORS = MAX_POOLS | _packets("amax amin max min maximum minimum topk")
_DIVISIONS = _packets("div true_divide")
_WEIGHTED = CONVOLUTIONS | _packets("linear addmm baddbmm")
_ADDED_FIRST = _packets("addmm baddbmm")
_LIKE_FIRST = _packets("zeros_like ones_like full_like empty_like rand_like randn_like new_zeros new_ones new_full new_empty")
_LIKE_SECOND = _packets("type_as expand_as view_as reshape_as")
_OVERWRITES = _packets("copy fill")
BILINEAR = _packets("mul matmul bmm mm einsum linear addmm baddbmm") | CONVOLUTIONS


def packet(node: fx.Node) -> Any:
    """Return the operator of a node without its overload (`aten.add` for `aten.add.Tensor`)."""
    return getattr(node.target, "overloadpacket", node.target)


def operator_name(node: fx.Node) -> str:
    """Return the operator's plain name: `conv2d`, `add`, `getitem`."""
    target = packet(node)
    return str(getattr(target, "__name__", target)).rpartition(".")[2]


def operands(value: Any) -> Iterable[fx.Node]:
    """Yield the nodes among a node's arguments, in the order of the arguments."""
    if isinstance(value, fx.Node):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from operands(item)
    elif isinstance(value, dict):
        yield from operands(list(value.values()))


def all_operands(node: fx.Node) -> list[fx.Node]:
    """Return every node whose values this node reads, positional arguments first.

    What only lends its shape or type (`zeros_like`), or is overwritten (`copy`), is not read.
    """
    target, args = packet(node), node.args
    if target in _LIKE_FIRST or target in _OVERWRITES:
        args = args[1:]
    elif target in _LIKE_SECOND:
        args = args[:1]
    return [*operands(args), *operands(node.kwargs)]


def options_of(node: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of an operator, besides the first, by the names that its schema gives them."""
    names = [argument.name for argument in node.target._schema.arguments]  # type: ignore[union-attr]
    return dict(zip(names[1:], args[1:], strict=False)) | kwargs


class PathAnalysis:
    """Which nodes of a graph carry a signal from the pixels, and what each of them does to it.

    Args:
        graph: A functional ATen graph with one placeholder that holds the pixels.
    """

    def __init__(self, graph: fx.Graph) -> None:
        self.graph = graph
        self.dependent: set[fx.Node] = set()
        for node in graph.nodes:
            if node.op == "placeholder" or (
                any(n in self.dependent for n in all_operands(node)) and _is_tensor(node)
            ):
                self.dependent.add(node)

    def classify(self, node: fx.Node) -> OperatorClass:
        """Return the class of a node."""
        if node not in self.dependent:
            return OperatorClass.CONSTANT
        if node.op == "placeholder" or node.op == "output" or node.target is operator.getitem:
            return OperatorClass.LINEAR
        target, signals = packet(node), [n for n in all_operands(node) if n in self.dependent]
        first_only = len(signals) == 1 and signals[0] is all_operands(node)[0]
        if target in RECTIFIERS:
            return OperatorClass.RECTIFIER if first_only else OperatorClass.UNKNOWN
        if target in CLAMPS:
            return OperatorClass.RECTIFIER if _clamps_at_zero(node) else OperatorClass.UNKNOWN
        if target in _MAXIMA and len(signals) == 1 and len(node.all_input_nodes) == 2:  # max(x, c) = relu(x - c) + c
            return OperatorClass.RECTIFIER
        if target in _SELECTORS:
            return OperatorClass.SELECTOR
        if target is aten.instance_norm and not node.args[5]:  # running statistics: a batch norm
            return OperatorClass.LINEAR if first_only else OperatorClass.UNKNOWN
        if target in NORMALISATIONS or target in ATTENTION:
            return OperatorClass.GATE
        if target in _LINEAR_OF_ALL:
            condition = target in (aten.where, aten.masked_fill) and self._condition_depends(node)
            return OperatorClass.GATE if condition else OperatorClass.LINEAR
        if target in _WEIGHTED:
            left, right = _multiplied(node)
            both = left in self.dependent and right in self.dependent
            return OperatorClass.GATE if both else OperatorClass.LINEAR
        if len(signals) > 1 and (target in BILINEAR or target in _DIVISIONS):
            return OperatorClass.GATE
        if target in _DIVISIONS and (node.args[0] not in self.dependent or node.kwargs.get("rounding_mode")):
            return OperatorClass.UNKNOWN
        if target in _LINEAR_OF_FIRST and (first_only or target in BILINEAR):
            return OperatorClass.LINEAR
        return OperatorClass.UNKNOWN

    def signal_inputs(self, node: fx.Node) -> tuple[fx.Node, ...]:
        """Return the inputs through which a signal goes further down; a gate's factors are not among them."""
        signals = tuple(dict.fromkeys(n for n in all_operands(node) if n in self.dependent))
        if self.classify(node) is not OperatorClass.GATE:
            return signals
        target = packet(node)
        if target in NORMALISATIONS | _DIVISIONS:
            return signals[:1]
        if target in _WEIGHTED:
            return tuple(n for n in signals if n is not _multiplied(node)[1])
        if target in ATTENTION:
            return (node.args[2],)  # type: ignore[return-value]
        if target in (aten.where, aten.masked_fill):
            return tuple(n for n in signals if n is not _condition(node))
        if len(signals) == 1:  # x * x: the second factor is held fixed
            return signals
        return self._signals_of_product(node, signals)

    def path(self, heads: Iterable[fx.Node]) -> list[fx.Node]:
        """Return the nodes that a signal put in at `heads` passes, in the order of the graph."""
        seen: set[fx.Node] = set()
        todo = [n for n in heads if n in self.dependent]
        while todo:
            node = todo.pop()
            if node not in seen:
                seen.add(node)
                todo.extend(self.signal_inputs(node))
        return [n for n in self.graph.nodes if n in seen]

    def _condition_depends(self, node: fx.Node) -> bool:
        return _condition(node) in self.dependent

    def _signals_of_product(self, node: fx.Node, signals: tuple[fx.Node, ...]) -> tuple[fx.Node, ...]:
        """Choose which factors of a product of signals are held fixed.

        *Convention*: the factor is what came out of a sigmoid, a softmax or the like; else what is broadcast
        over the other; else what was computed from the other; else what came out of a rectifier. Where none
        of these tells the two apart, the signal goes to both, each with the other held fixed.
        """
        left, right = signals[0], signals[-1]
        tests: tuple[Callable[[fx.Node, fx.Node], bool], ...] = (
            lambda a, _: self._comes_from(a, SQUASHES),
            _is_broadcast_over,
            lambda a, b: b in self._ancestors(a),
            lambda a, _: self._comes_from(a, RECTIFIERS),
        )
        for is_factor in tests:
            verdict = is_factor(left, right), is_factor(right, left)
            if verdict[0] != verdict[1]:
                return (right,) if verdict[0] else (left,)
        return left, right

    def _comes_from(self, node: fx.Node, kinds: frozenset[Any]) -> bool:
        """Return whether a node is the output of such an operator, seen through views, scales and offsets."""
        while node.op == "call_function" and packet(node) not in kinds:
            below = [n for n in all_operands(node) if n in self.dependent]
            through = packet(node) in _ELEMENTWISE_OR_VIEW or node.target is operator.getitem
            if len(below) != 1 or not through:
                return False
            node = below[0]
        return node.op == "call_function"

    @cache  # noqa: B019  (an analysis lives as long as its graph)
    def _ancestors(self, node: fx.Node) -> frozenset[fx.Node]:
        seen: set[fx.Node] = set()
        todo = [node]
        while todo:
            for below in todo.pop().all_input_nodes:
                if below not in seen:
                    seen.add(below)
                    todo.append(below)
        return frozenset(seen)


def shape_of(node: fx.Node) -> tuple[Any, ...] | None:
    """Return the recorded shape of a node's tensor; None where it holds no single tensor."""
    value = node.meta.get("val")
    return tuple(value.shape) if isinstance(value, torch.Tensor) else None


def _is_tensor(node: fx.Node) -> bool:
    value = node.meta.get("val")
    if isinstance(value, (tuple, list)):
        return any(isinstance(v, torch.Tensor) for v in value)
    return node.op == "output" or isinstance(value, torch.Tensor)


def _multiplied(node: fx.Node) -> tuple[Any, Any]:
    """Return what a weighted sum multiplies: the input and the weight; what it adds is not among them."""
    pair = node.args[1:3] if packet(node) in _ADDED_FIRST else node.args[:2]
    return pair[0], pair[1]


def _condition(node: fx.Node) -> Any:
    return node.args[0] if packet(node) is aten.where else node.args[1]


def _clamps_at_zero(node: fx.Node) -> bool:
    low = node.args[1] if len(node.args) > 1 else node.kwargs.get("min", -1.0)
    return low == 0


def _is_broadcast_over(node: fx.Node, other: fx.Node) -> bool:
    """Return whether node has size 1, or nothing, where other has a real extent."""
    mine, theirs = shape_of(node), shape_of(other)
    if mine is None or theirs is None:
        return False
    mine = (1,) * (len(theirs) - len(mine)) + mine
    return any(_is_one(a) and not _is_one(b) for a, b in zip(mine[::-1], theirs[::-1], strict=False))


def _is_one(size: Any) -> bool:
    return isinstance(size, int) and size == 1
