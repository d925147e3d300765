"""The classes of operators: what each ATen operator is on the way down to the pixels.

A captured network is a functional graph, and every operator in it that a signal can pass belongs to one class
(docs/rules.md). The class depends on the node and not only on the operator: a product with a constant is
linear, a product of two signals is a gate.

*Source*: the table of docs/rules.md.
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
BATCH_NORMS = _packets("_native_batch_norm_legit_no_training")  # by those of the batch, images would be mixed
NORMALISATIONS = _packets("layer_norm native_layer_norm group_norm native_group_norm instance_norm rms_norm")
AVERAGE_POOLS = _packets("avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d mean")
MAX_POOLS = _packets(
    "max_pool1d max_pool2d max_pool3d max_pool2d_with_indices max_pool3d_with_indices adaptive_max_pool2d"
)
ATTENTION = _packets("scaled_dot_product_attention")
RECTIFIERS = _packets(
    "relu relu6 leaky_relu prelu _prelu_kernel rrelu threshold elu celu selu gelu silu mish hardswish softplus"
)
CLAMPS = _packets("hardtanh clamp clamp_min")
SQUASHES = _packets("sigmoid hardsigmoid tanh softmax _softmax log_softmax log_sigmoid exp")
STEPS = _packets(
    "sign sgn heaviside gt ge lt le eq ne logical_not logical_and logical_or bitwise_not bitwise_and"
    " floor ceil round trunc argmax argmin one_hot isfinite isnan"
)
POWERS = {aten.pow: None, aten.square: 2, aten.sqrt: 0.5}  # with the exponent, where the name says it

CHOOSERS = {  # with the place of the argument that only says which or where: it is recorded and held fixed
    aten.where: 0,
    aten.masked_fill: 1,
    aten.index: 1,
    aten.index_put: 1,
    aten.take_along_dim: 1,
    aten.max_unpool2d: 1,
    aten.grid_sampler: 1,
    aten.grid_sampler_2d: 1,
    aten.index_select: 2,
    aten.gather: 2,
    aten.index_add: 2,
    aten.index_copy: 2,
    aten.index_fill: 2,
    aten.scatter: 2,
    aten.scatter_add: 2,
    aten.masked_scatter: 1,
}
_WEIGHTED = CONVOLUTIONS | _packets("linear")
_MATRIX_PRODUCTS = _packets("matmul bmm mm mv dot inner outer tensordot einsum")
ADDED_FIRST = _packets("addmm addmv addbmm baddbmm addcmul")
_PRODUCTS = _WEIGHTED | _MATRIX_PRODUCTS | ADDED_FIRST | _packets("mul")
_DIVISIONS = _packets("div")
_ELEMENTWISE_OR_VIEW = (
    frozenset({operator.getitem})
    | AVERAGE_POOLS - _packets("mean")
    | frozenset(CHOOSERS)
    | _packets(
        "add sub mul div rsub neg cumsum diff adaptive_avg_pool3d"
        " alias clone contiguous detach _to_copy to lift_fresh lift_fresh_copy copy type_as"
        " dropout feature_dropout alpha_dropout feature_alpha_dropout"
        " view _unsafe_view reshape view_as reshape_as flatten unflatten permute transpose t movedim"
        " squeeze unsqueeze expand expand_as broadcast_to repeat repeat_interleave tile"
        " select slice narrow diagonal split split_with_sizes chunk unbind unfold im2col col2im"
        " roll flip rot90 tril triu diag_embed as_strided nan_to_num"
        " pad constant_pad_nd reflection_pad2d replication_pad2d"
        " pixel_shuffle pixel_unshuffle channel_shuffle"
        " upsample_nearest1d upsample_nearest2d _upsample_nearest_exact1d _upsample_nearest_exact2d"
        " upsample_linear1d upsample_bilinear2d upsample_bicubic2d"
        " _upsample_bilinear2d_aa _upsample_bicubic2d_aa"
        " fft_rfft2 fft_irfft2 fft_fft2 fft_ifft2 _fft_r2c _fft_c2r _fft_c2c fft_fftshift fft_ifftshift"
        " view_as_real view_as_complex"
    )
)
_LINEAR_OF_FIRST = _ELEMENTWISE_OR_VIEW | BATCH_NORMS | _packets("mean sum instance_norm")
_LINEAR_OF_ALL = _packets(
    "add sub rsub lerp complex cat stack hstack vstack dstack column_stack slice_scatter select_scatter"
)
_MAXIMA = _packets("maximum max")
_SELECTORS = MAX_POOLS | _packets(
    "adaptive_max_pool1d adaptive_max_pool3d amax amin max min maximum minimum topk sort median kthvalue"
)
_SELECTORS |= _packets("abs")  # |x| is max(x, -x), a maxout
_LINEAR = _LINEAR_OF_FIRST | _LINEAR_OF_ALL | _PRODUCTS
_RECTIFYING = RECTIFIERS | CLAMPS
_MADE_TO_SCALE = SQUASHES | STEPS | _packets("reciprocal rsqrt")
_LIKE_FIRST = _packets(
    "zeros_like ones_like full_like empty_like rand_like randn_like randint_like zero"
    " new_zeros new_ones new_full new_empty new_empty_strided"
)
_LIKE_SECOND = _packets("type_as expand_as view_as reshape_as resize_as")
_OVERWRITES = _packets("copy fill")
_EXPANSIONS = _packets("expand expand_as broadcast_to")
_ALIASES: dict[Any, Any] = {
    aten.multiply: aten.mul,
    aten.divide: aten.div,
    aten.true_divide: aten.div,
    aten.subtract: aten.sub,
    aten.negative: aten.neg,
    aten.absolute: aten.abs,
    aten.concat: aten.cat,
    aten.concatenate: aten.cat,
    aten.clip: aten.clamp,
    aten._adaptive_avg_pool2d: aten.adaptive_avg_pool2d,
    aten._adaptive_avg_pool3d: aten.adaptive_avg_pool3d,
}


def packet(node: fx.Node) -> Any:
    """Return the operator of a node without its overload: `aten.mul` for `aten.mul.Tensor` and for its aliases."""
    target: Any = getattr(node.target, "overloadpacket", node.target)
    return _ALIASES.get(target, target)


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
    elif target in _LIKE_SECOND or node.target is aten.to.other:
        args = args[:1]
    return [*operands(args), *operands(node.kwargs)]


def carries_signal(node: fx.Node) -> bool:
    """Return whether a node's values can carry a signal: the pixels, and whatever is floating or complex.

    Comparisons, masks, indices and sizes cannot: between their steps they do not change with the pixels.
    """
    if node.op == "placeholder":
        return True
    value = node.meta.get("val")
    values = value if isinstance(value, (tuple, list)) else [value]
    return any(
        v is None or (isinstance(v, torch.Tensor) and (v.is_floating_point() or v.is_complex()))
        for v in values
    )


def options_of(node: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of an operator, besides the first, by the names that its schema gives them."""
    names = [argument.name for argument in node.target._schema.arguments]  # type: ignore[union-attr]
    return dict(zip(names[1:], args[1:], strict=False)) | kwargs


def convolution_options(node: fx.Node) -> dict[str, Any]:
    """Return stride, padding, dilation (each a pair) and groups of a two-dimensional convolution."""
    given = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1} | options_of(node, node.args, node.kwargs)
    return {k: as_pair(given[k]) for k in ("stride", "padding", "dilation")} | {"groups": given["groups"]}


def as_pair(value: Any) -> list[int]:
    """Return what an operator of two dimensions takes for rows and columns: one number stands for both."""
    found = list(value) if isinstance(value, (list, tuple)) else [value]
    return found * 2 if len(found) == 1 else found


class PathAnalysis:
    """Which nodes of a graph carry a signal from the pixels, and what each of them does to it.

    Args:
        graph: A functional ATen graph with one placeholder that holds the pixels.
    """

    def __init__(self, graph: fx.Graph) -> None:
        self.graph = graph
        self.dependent: set[fx.Node] = set()
        self._comes_from = cache(self._find_origin)
        self._ancestors = cache(self._find_ancestors)
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
        target, signals = packet(node), self._signals(node)
        first_only = len(signals) == 1 and signals[0] is all_operands(node)[0]
        if _options_leave_class(node, first_only) or (target is aten.lerp and node.args[2] in self.dependent):
            return OperatorClass.UNKNOWN
        if (first_only and _is_rectifier(node)) or _is_maximum_with_constant(node, signals):
            return OperatorClass.RECTIFIER
        if target in _SELECTORS or (first_only and _is_minimum_with_constant(node)):
            return OperatorClass.SELECTOR
        if (first_only and _scales_itself(node)) or target in ATTENTION or self._multiplies_signals(node):
            return OperatorClass.GATE if self.signal_inputs(node) else OperatorClass.UNKNOWN
        if target in _PRODUCTS or target in _LINEAR_OF_ALL or target in CHOOSERS:
            return OperatorClass.LINEAR
        return OperatorClass.LINEAR if first_only and target in _LINEAR_OF_FIRST else OperatorClass.UNKNOWN

    def signal_inputs(self, node: fx.Node) -> tuple[fx.Node, ...]:
        """Return the inputs through which a signal goes further down; a gate's factors are not among them."""
        held = self.held_fixed(node)
        added = node.args[0] if packet(node) in ADDED_FIRST else None
        passed = [n for n in self._signals(node) if carries_signal(n)]
        return tuple(dict.fromkeys(n for n in passed if n not in held or n is added))

    def origins(self, node: fx.Node) -> tuple[fx.Node, ...]:
        """Return the inputs that a node's values come from: those that pass a signal, else the masks it is made of."""
        return self.signal_inputs(node) or tuple(self._signals(node))

    def held_fixed(self, node: fx.Node) -> tuple[fx.Node, ...]:
        """Return the operands whose values are recorded and held fixed: a gate's factors, a choice's condition."""
        target, signals = packet(node), self._signals(node)
        if target in ATTENTION:
            return tuple(n for n in signals if n is not node.args[2])
        if target in CHOOSERS:
            return tuple(n for n in operands(node.args[CHOOSERS[target]]) if n in self.dependent)
        if target in NORMALISATIONS or target in _DIVISIONS:
            return tuple(n for n in signals[1:] if n is not signals[0])
        factors = self._multiplied(node)
        if len(set(factors)) < 2:  # x * x: the rewrite holds the second one fixed
            return ()
        kept = factors[:1] if target in _WEIGHTED else self._signals_of_product(factors[0], factors[-1])
        return tuple(n for n in factors if n not in kept)

    def path(self, heads: Iterable[fx.Node], past_steps: bool = False) -> list[fx.Node]:
        """Return the nodes that a signal put in at `heads` passes, in the order of the graph.

        Args:
            heads: Where the signal is put in.
            past_steps: Whether to go on where all that a node carries comes from comparisons, which pass no signal.
        """
        seen = self._reached(heads, self.origins if past_steps else self.signal_inputs)
        return [n for n in self.graph.nodes if n in seen]

    def branches(self, gates: Iterable[fx.Node]) -> set[fx.Node]:
        """Return the nodes that a signal put in at gates passes only if it goes through their factors too."""
        factors = [n for gate in gates for n in self.held_fixed(gate) if carries_signal(n)]
        return self._reached(factors, lambda node: [n for n in self._signals(node) if carries_signal(n)])

    def _reached(
        self, heads: Iterable[fx.Node], below: Callable[[fx.Node], Iterable[fx.Node]]
    ) -> set[fx.Node]:
        seen: set[fx.Node] = set()
        todo = [n for n in heads if n in self.dependent]
        while todo:
            node = todo.pop()
            if node not in seen:
                seen.add(node)
                todo.extend(below(node))
        return seen

    def _signals(self, node: fx.Node) -> list[fx.Node]:
        return [n for n in all_operands(node) if n in self.dependent]

    def _multiplies_signals(self, node: fx.Node) -> bool:
        return len(self._multiplied(node)) > 1 or bool(self.held_fixed(node))

    def _multiplied(self, node: fx.Node) -> list[fx.Node]:
        """Return the signals that a product multiplies, each as often as it is a factor; not what it adds."""
        if packet(node) not in _PRODUCTS:
            return []
        factors = node.args[1:3] if packet(node) in ADDED_FIRST else node.args[:2]
        return [n for n in operands(factors) if n in self.dependent]

    def _signals_of_product(self, left: fx.Node, right: fx.Node) -> tuple[fx.Node, ...]:
        """Choose through which of two factors the signal goes; the others are held fixed.

        *Convention*: held fixed is a mask or an index (`carries_signal`); else what came out of a sigmoid, a
        softmax, a comparison or the like; else a linear map of that (talking heads); else what is broadcast over the
        other; else what was computed from the other; else what came out of a rectifier. Where none of these tells
        the two apart, the signal goes to both, each with the other held fixed.
        """
        tests: tuple[Callable[[fx.Node, fx.Node], bool], ...] = (
            lambda a, _: not carries_signal(a),
            lambda a, _: self._comes_from(a, _MADE_TO_SCALE, _ELEMENTWISE_OR_VIEW),
            lambda a, _: self._comes_from(a, _MADE_TO_SCALE, _LINEAR),
            _is_broadcast_over,
            lambda a, b: b in self._ancestors(a),
            lambda a, _: self._comes_from(a, _RECTIFYING, _ELEMENTWISE_OR_VIEW),
        )
        for is_factor in tests:
            verdict = is_factor(left, right), is_factor(right, left)
            if verdict[0] != verdict[1]:
                return (right,) if verdict[0] else (left,)
        return left, right

    def _find_origin(self, node: fx.Node, kinds: frozenset[Any], through: frozenset[Any]) -> bool:
        """Return whether all that a node carries came out of such operators, seen through operators `through`."""
        if packet(node) in kinds:
            return True
        if not carries_signal(node):  # a mask, whatever made it, scales and is no rectified signal
            return kinds is _MADE_TO_SCALE
        below = self.origins(node) if packet(node) in through else ()
        return bool(below) and all(self._comes_from(n, kinds, through) for n in below)

    def _find_ancestors(self, node: fx.Node) -> frozenset[fx.Node]:
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


def module_of(node: fx.Node) -> str:
    """Return the class name of the module that made a node, empty where none did."""
    stack = node.meta.get("nn_module_stack") or {}
    kind = next(reversed(stack.values()))[1] if stack else ""
    return (kind if isinstance(kind, str) else kind.__name__).rpartition(".")[2]


def _is_tensor(node: fx.Node) -> bool:
    value = node.meta.get("val")
    if isinstance(value, (tuple, list)):
        return any(isinstance(v, torch.Tensor) for v in value)
    return node.op == "output" or isinstance(value, torch.Tensor)


def _options_leave_class(node: fx.Node, first_only: bool) -> bool:
    """Return whether an operator's options, or what else it reads, take it out of its class."""
    if packet(node) is aten.instance_norm:
        return not (node.args[5] or first_only)
    return node.kwargs.get("rounding_mode") is not None or "reduce" in node.kwargs


def _is_rectifier(node: fx.Node) -> bool:
    """Return whether an operator of its first argument is a rectifier.

    *Convention*: a clamp is one if it starts at zero (an upper bound is that of ReLU6), or has no upper bound:
    max(x, c) is a ReLU moved by c. With an upper bound only it is a selector, and on both sides a squash.
    """
    if packet(node) not in CLAMPS:
        return packet(node) in RECTIFIERS
    low, high = (*node.args[1:3], None, None)[:2]
    return low is not None and (high is None or low in (0, 0.0))


def _is_minimum_with_constant(node: fx.Node) -> bool:
    """Return whether a clamp has an upper bound only: min(x, c), however it is spelled."""
    if packet(node) is aten.clamp:
        low, high = (*node.args[1:3], None, None)[:2]
        return low is None and high is not None
    return packet(node) is aten.clamp_max


def _is_maximum_with_constant(node: fx.Node, signals: list[fx.Node]) -> bool:
    return packet(node) in _MAXIMA and len(signals) == 1 and len(node.all_input_nodes) == 2


def _scales_itself(node: fx.Node) -> bool:
    """Return whether an operator of one signal is a product of it and of a factor made from it.

    *Convention*: x ** p is x times x ** (p - 1), as x * x is; only for p > 0, where it grows with x.
    """
    target = packet(node)
    if target in POWERS:
        exponent: Any = POWERS[target] or node.args[1]
        if isinstance(exponent, fx.Node):
            return exponent.op == "get_attr" and bool(torch.all(exponent.meta["val"] > 0))
        return float(exponent) > 0
    if target is aten.instance_norm:  # by running statistics it is linear
        return bool(node.args[5])
    return target in NORMALISATIONS or target is aten.glu


def _is_broadcast_over(node: fx.Node, other: fx.Node) -> bool:
    """Return whether node has size 1, or nothing, where other has a real extent; `expand` hides no size 1."""
    mine, theirs = (shape_of(_before_expansion(n)) for n in (node, other))
    if mine is None or theirs is None:
        return False
    mine = (1,) * (len(theirs) - len(mine)) + mine
    return any(_is_one(a) and not _is_one(b) for a, b in zip(mine[::-1], theirs[::-1], strict=False))


def _before_expansion(node: fx.Node) -> fx.Node:
    while node.op == "call_function" and packet(node) in _EXPANSIONS:
        node = node.args[0]  # type: ignore[assignment]
    return node


def _is_one(size: Any) -> bool:
    return isinstance(size, int) and size == 1
