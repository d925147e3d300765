"""Reading a graph: what an fx node says by itself, before anything is known of where its signal comes from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import fx

aten = torch.ops.aten

BATCH = 1_000_003
"""What stands for the symbolic batch size: a prime, so that no view can hide it among other sizes."""

_ALIASES: dict[Any, Any] = {  # other spellings of one operator, so that it has one entry
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


def every_operand(node: fx.Node) -> list[fx.Node]:
    """Return the nodes among all of a node's arguments, positional arguments first."""
    return [*operands(node.args), *operands(node.kwargs)]


def all_but_first(node: fx.Node) -> list[fx.Node]:
    """Return all operands but the first, which only lends its shape or is overwritten."""
    return [*operands(node.args[1:]), *operands(node.kwargs)]


def only_first(node: fx.Node) -> list[fx.Node]:
    """Return the first operand; the second one only lends its shape or type."""
    return [*operands(node.args[:1]), *operands(node.kwargs)]


def carries_signal(node: fx.Node) -> bool:
    """Return whether a node's values can carry a signal: the pixels, and whatever is floating or complex.

    Comparisons, masks, indices and sizes cannot: between their steps they do not change with the pixels.
    """
    if node.op == "placeholder":
        return True
    value = node.meta.get("val")
    values = value if isinstance(value, (tuple, list)) else [value]
    # None: a node that a rule has put in, of which nothing is recorded, may well carry one.
    return any(
        v is None or (isinstance(v, torch.Tensor) and (v.is_floating_point() or v.is_complex()))
        for v in values
    )


def options_of(node: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments that were given to an operator, besides the first, by the names in its schema."""
    # `strict=False`: a schema names more arguments than were given; the rest have their defaults.
    names = [argument.name for argument in node.target._schema.arguments]  # type: ignore[union-attr]
    return dict(zip(names[1:], args[1:], strict=False)) | kwargs


def arguments(node: fx.Node) -> dict[str, Any]:
    """Return all arguments of a node by the names in its operator's schema, defaults filled in."""
    schema: Any = node.target._schema  # type: ignore[union-attr]
    given = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
    return {**given, **dict(zip((a.name for a in schema.arguments), node.args, strict=False)), **node.kwargs}


def as_list(value: Any, n_axes: int) -> list[int]:
    """Return an option's value for each of n axes; one number stands for all of them."""
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    return values * n_axes if len(values) == 1 else values


def shape_of(node: fx.Node) -> tuple[Any, ...] | None:
    """Return the recorded shape of a node's tensor; None where it holds no single tensor."""
    value = node.meta.get("val")
    return tuple(value.shape) if isinstance(value, torch.Tensor) else None


def sizes_of(node: Any) -> tuple[int, ...]:
    """Return the shape of a node's (first) tensor in whole numbers, BATCH standing for the symbolic batch."""
    value = node.meta.get("val")
    return as_sizes(value[0] if isinstance(value, (tuple, list)) else value)


def as_sizes(value: Any) -> tuple[int, ...]:
    """Return the shape of a tensor in whole numbers; () where it is none."""
    shape = value.shape if isinstance(value, torch.Tensor) else ()
    return tuple(size if isinstance(size, int) else _evaluate(size.node.expr) for size in shape)


def _evaluate(expression: Any) -> int:
    # Symbolic sizes, such as 49 * s0, come from the batch alone: images have a fixed height and width.
    return int(expression.subs(dict.fromkeys(expression.free_symbols, BATCH)))


def has_batch_size(node: fx.Node, size: int) -> bool:
    """Return whether a dimension of this size is as long as the batch of images in a node's graph."""
    pixels = next(iter(node.graph.find_nodes(op="placeholder")))
    return size == sizes_of(pixels)[0]


def gives_tensors(node: fx.Node) -> bool:
    """Return whether a node holds at least one tensor; an output counts."""
    value = node.meta.get("val")
    if isinstance(value, (tuple, list)):
        return any(isinstance(v, torch.Tensor) for v in value)
    return node.op == "output" or isinstance(value, torch.Tensor)


def module_of(node: fx.Node) -> str:
    """Return the class name of the module that made a node, empty where none did."""
    # From the outermost module to the innermost, each as (path, class or its qualified name).
    stack = node.meta.get("nn_module_stack") or {}
    kind = next(reversed(stack.values()))[1] if stack else ""
    return (kind if isinstance(kind, str) else kind.__name__).rpartition(".")[2]
