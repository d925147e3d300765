"""Activations that a model writes out by hand, recognised by what they compute and made one operator.

`x * relu6(x + 3) / 6` is hard swish, `where(x > 0, x, 0.1 * x)` a leaky ReLU, `x * 0.5 * (1 + erf(x / sqrt(2)))`
GELU. The same function has the same rule however its author spelled it, so such a subgraph is replaced by the operator
of that name. Older releases of torch take some activations apart themselves; what they leave is recognised here too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch.nn import functional as F

from backlight.operators.kinds import rectifier_of_first
from backlight.operators.reading import aten, packet
from backlight.operators.table import operands_read, operator_of

_MOST_NODES = 16  # the longest spelling seen, GELU by tanh, has ten
_GRID = torch.cat([torch.linspace(-30, 30, 601), torch.linspace(-4, 4, 801)]).double()
_FAR = 600  # the place of its largest input
_ABSOLUTE, _RELATIVE = 1e-7, 1e-6
"""How far a spelling may be off: constants such as 0.797884 are rounded by their authors."""

_LENDS_SHAPE = {aten.zeros_like: 0.0, aten.ones_like: 1.0}
_OTHERS = {
    *(aten.clone, aten.alias, aten.contiguous, aten._to_copy, aten.detach, aten.lift_fresh_copy),
    *(aten.where, aten.masked_fill, *_LENDS_SHAPE),
}
"""Pointwise operators that torch does not tag as such."""

_LITERALS = ("lifted_tensor", "_tensor_constant")  # torch.export's names for tensors made in a forward


@dataclass(frozen=True)
class _Known:
    """An activation to compare with: how it is computed, and the call that stands for it in a graph.

    `is_bent` says that it is zero, and not nearly so, over a range: max(x, 1e-12) is a guard and no ReLU.
    """

    compute: Callable[[Tensor], Tensor]
    target: Any
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] | None = None
    is_bent: bool = False


_FIXED = (
    _Known(F.relu, aten.relu.default, is_bent=True),
    _Known(F.relu6, aten.relu6.default, is_bent=True),
    _Known(F.hardswish, aten.hardswish.default, is_bent=True),
    _Known(F.silu, aten.silu.default),
    _Known(F.mish, aten.mish.default),
    _Known(F.gelu, aten.gelu.default),
    _Known(lambda x: F.gelu(x, approximate="tanh"), aten.gelu.default, (), {"approximate": "tanh"}),
    _Known(F.softplus, aten.softplus.default),
    _Known(F.selu, aten.selu.default),
)


def recognise_activations(graph: fx.Graph) -> None:
    """Replace every subgraph that computes a known activation of one node by that activation; in place.

    What the subgraph computed on the way stays in the graph for whoever names it, and is not run for what is above.

    *Convention*: of two operators that compute the same, such as two ReLUs in a row, none is replaced: the author's own
    activation stays the layer that it was. A function is known where it agrees to 1e-7 and a millionth of the input
    over inputs from -30 to 30.
    """
    for node in list(graph.nodes):
        if node.op == "call_function" and _is_pointwise(node):
            for source, region in _regions(node):
                known = _recognised(node, source, region)
                if known is not None:
                    _replace(graph, node, source, known)
                    break


def _is_pointwise(node: fx.Node) -> bool:
    """Return whether each entry of a node's value comes of the entries in the same place of what it reads."""
    tags = getattr(node.target, "tags", ())
    if torch.Tag.nondeterministic_seeded in tags:
        return False
    target = packet(node)
    return torch.Tag.pointwise in tags or target in _OTHERS or node.target in (aten.max.other, aten.min.other)


def _regions(node: fx.Node) -> Iterator[tuple[fx.Node, set[fx.Node]]]:
    """Yield each node of which alone this one is a function, with the operators between, nearest first.

    The nodes that the region still reads are expanded, the latest of the graph first, until only one is left.
    """
    order = {n: i for i, n in enumerate(_ancestry(node))}
    region: set[fx.Node] = {node}
    reads = _reads(node)
    while reads and len(region) <= _MOST_NODES:
        if len(reads) == 1 and len(region) > 1:
            yield next(iter(reads)), set(region)
        latest = min(reads, key=lambda n: order.get(n, _MOST_NODES**2))
        if latest not in order or latest.op != "call_function" or not _is_pointwise(latest):
            return
        region.add(latest)
        reads = (reads - {latest}) | (_reads(latest) - region)


def _ancestry(node: fx.Node) -> list[fx.Node]:
    """Return the operators before a node in the graph, latest first, no more than can matter."""
    found: list[fx.Node] = []
    while len(found) < _MOST_NODES**2 and node.op != "root":
        node = node.prev
        found.append(node)
    return found


def _reads(node: fx.Node) -> set[fx.Node]:
    """Return what a node reads besides numbers."""
    return {n for n in operands_read(node) if not _is_number(n)}


def _is_number(node: fx.Node) -> bool:
    """Return whether a node is a constant of one entry that the author wrote: no weight, which may be changed."""
    value = node.meta.get("val")
    if not isinstance(value, Tensor) or value.dim() > 0:
        return False
    if node.op == "get_attr":
        return any(name in str(node.meta.get("parameter")) for name in _LITERALS)
    return node.op == "call_function" and all(_is_number(n) for n in node.all_input_nodes)


def _recognised(node: fx.Node, source: fx.Node, region: set[fx.Node]) -> _Known | None:
    """Return the activation that a node computes of a source; None for any other function."""
    value = source.meta.get("val")
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return None
    try:
        values = _computed(node, source, region)
    except Exception:  # an operator that wants more than a list of numbers: no activation
        return None
    result = values[node]
    if result.shape != _GRID.shape or not result.is_floating_point():
        return None
    known = next((k for k in _candidates(result) if _is(result, k)), None)
    if known is None or any(
        other is not node and operator_of(other).kind is rectifier_of_first and _agree(found, result)
        for other, found in values.items()
    ):
        return None
    return known


def _computed(node: fx.Node, source: fx.Node, region: set[fx.Node]) -> dict[fx.Node, Tensor]:
    """Return what the nodes of a region give for the source's values in the grid."""
    values: dict[fx.Node, Any] = {source: _GRID}

    def value_of(other: fx.Node) -> Any:
        if other not in values:
            values[other] = _constant(other) if other not in region else _run(other)
        return values[other]

    def _run(other: fx.Node) -> Any:
        if packet(other) in _LENDS_SHAPE:
            return torch.full_like(_GRID, _LENDS_SHAPE[packet(other)])
        args, kwargs = fx.map_arg((other.args, other.kwargs), value_of)
        if packet(other) is aten._to_copy:
            kwargs = {"dtype": torch.float64}
        target: Any = other.target
        return target(*args, **kwargs)

    with torch.no_grad():
        value_of(node)
    return {n: v for n, v in values.items() if n in region}


def _constant(node: fx.Node) -> Any:
    if node.op == "get_attr":
        value: Tensor = node.meta["val"]
        return value.double() if value.is_floating_point() else value
    args, kwargs = fx.map_arg((node.args, node.kwargs), _constant)
    target: Any = node.target
    return target(*args, **kwargs)


def _candidates(result: Tensor) -> Iterator[_Known]:
    """Yield the known activations, those with a number of their own with the one that fits the far ends."""
    yield from _FIXED
    low, high = float(result[0]), float(result[_FAR])
    slope = -low / 30
    if 0 < slope < 1:
        yield _Known(lambda x: F.leaky_relu(x, slope), aten.leaky_relu.default, (_rounded(slope),))
    if low < 0:
        yield _Known(lambda x: F.elu(x, -low), aten.elu.default, (_rounded(-low),))
    if 0 < high < 30:
        yield _Known(
            lambda x: F.hardtanh(x, 0, high), aten.hardtanh.default, (0.0, _rounded(high)), is_bent=True
        )


def _rounded(number: float) -> float:
    """Return a number without what dividing it has added in its last digits."""
    return float(f"{number:.12g}")


def _is(result: Tensor, known: _Known) -> bool:
    right = known.compute(_GRID)
    return _agree(right, result) and not (known.is_bent and bool(result[right == 0].any()))


def _agree(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or not other.is_floating_point():
        return False
    return bool(((one - other).abs() <= _ABSOLUTE + _RELATIVE * _GRID.abs()).all())


def _replace(graph: fx.Graph, node: fx.Node, source: fx.Node, known: _Known) -> None:
    with graph.inserting_before(node):
        made = graph.call_function(known.target, (source, *known.args), dict(known.kwargs or {}))
    made.meta = dict(node.meta)
    node.replace_all_uses_with(made)
    graph.erase_node(node)
