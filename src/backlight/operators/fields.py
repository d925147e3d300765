"""Field rules that several families share: which pixels an operator's values see, from what its operands see.

A field always contains what a unit sees; where that cannot be told along an axis, it is the whole image.

*Source*: the arithmetic of Araujo et al., *Computing Receptive Fields of Convolutional Neural Networks* (2019).
*Differs*: an interval for each axis, so that branches that are not aligned give their union and no error.
*Differs*: the field of a gated product is that of its signal; `gates_ignored` says that a factor sees more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import fx

from backlight.operators.operator import Field, Seen
from backlight.operators.reading import arguments, as_sizes, has_batch_size, sizes_of
from backlight.operators.spread import Spread, Spreads, joined, stretched


def of_one_signal(rule: Callable[[fx.Node, Spread], Spreads]) -> Field:
    """Return the field rule of an operator of one signal.

    Args:
        rule: From the operator and the spread of its signal to its own. Its docstring becomes the field rule's.

    *Convention*: of several signals, anything may be seen; where weights are made from the image too, that is noted.
    """

    def field(seen: Seen) -> Spreads:
        if len(seen.signals) != 1:
            return cannot_be_told(seen.node, seen.signals.values())
        result = rule(seen.node, *seen.signals.values())
        if len(seen.operands) > 1 and isinstance(result, Spread):  # weights made from the image
            return gated([result], [result.with_roles("" for _ in result.roles)])
        return result

    field.__doc__ = rule.__doc__
    return field


def _unchanged(node: fx.Node, spread: Spread) -> Spread:
    """What the operand sees in the same place."""
    return spread


unchanged = of_one_signal(_unchanged)


def cell_by_cell(seen: Seen) -> Spreads:
    """What the operands see in the same place, broadcast to one shape."""
    target = sizes_of(seen.node)
    # Operands of lower rank, or of size 1 along an axis, are stretched first: then all have the roles of one shape.
    aligned = {n: stretched(spread, sizes_of(n), target) for n, spread in seen.operands.items()}
    factors = [spread for n, spread in aligned.items() if n not in seen.signals]
    return gated([aligned[n] for n in seen.signals], factors)


def gated(signals: Sequence[Spread], factors: Sequence[Spread]) -> Spread:
    """Return the union of signals, and whether any factor that scales them sees pixels outside it."""
    union = joined(signals)
    axes = union.rows, union.cols
    # A factor that sees no more leaves the union as it is. Beyond the whole image there is nothing to see.
    unions = [joined([union, factor]) for factor in factors if axes != (None, None)]
    ignored = any(both.gates_ignored or (both.rows, both.cols) != axes for both in unions)
    return replace(union, gates_ignored=union.gates_ignored or ignored)


def cannot_be_told(node: fx.Node, spreads: Iterable[Spread]) -> Spreads:
    """Return the cautious answer: every entry sees the whole image; the first dimension is the batch, if as long."""
    value, ignored = node.meta.get("val"), any(s.gates_ignored for s in spreads)
    # One answer for each tensor that the operator gives; () for what is no tensor, or a number without dimensions.
    shapes = [as_sizes(v) for v in (value if isinstance(value, (tuple, list)) else [value])]
    firsts = ["n" if sizes and has_batch_size(node, sizes[0]) else "" for sizes in shapes]
    roles = [(first, *[""] * len(sizes))[: len(sizes)] for first, sizes in zip(firsts, shapes, strict=True)]
    answers = tuple(Spread(own, None, None, ignored) for own in roles)
    return answers if isinstance(value, (tuple, list)) else answers[0]


def whole_image(seen: Seen) -> Spreads:
    """Return the field of an operator that declares none: the whole image.

    *Convention*: where it keeps the shape of its one signal, it is taken to keep what each dimension is, so that its
    values are still feature maps.
    """
    node, spreads = seen.node, list(seen.signals.values())
    if len(spreads) == 1 and isinstance(node.meta.get("val"), torch.Tensor):
        (below,) = seen.signals
        if sizes_of(below) == sizes_of(node):
            return replace(spreads[0], rows=None, cols=None)
    return cannot_be_told(node, spreads)


def named_dims(node: fx.Node, rank: int) -> list[int]:
    """Return the dimensions that an operator names, counted from 0; none named means all."""
    # Indexing a range counts negative dimensions from the end, and refuses those that are not there.
    given, every = arguments(node), range(rank)
    value: Any = given.get("dim", given.get("dims"))
    return [every[value]] if isinstance(value, int) else [every[d] for d in value or every]


def _mixing(node: fx.Node, spread: Spread) -> Spread:
    """The whole image along the dimensions that it names; along the others the same place."""
    return spread.mixed(named_dims(node, len(spread.roles)))


mixing = of_one_signal(_mixing)
"""The field of what mixes, or puts in another order, the positions along the dimensions that it names."""


def _reduction(node: fx.Node, spread: Spread) -> Spread:
    """The whole image along the dimensions that it reduces; along the others the same place."""
    # (n, c, h, w) -> (n, c) over (2, 3), or (n, c, 1, 1) with keepdim: a role stays with a dimension of size 1.
    rank, keeps = len(spread.roles), arguments(node).get("keepdim")
    dims = named_dims(node, rank)
    return spread.averaged(dims).with_roles(spread.roles[d] for d in range(rank) if keeps or d not in dims)


reduction = of_one_signal(_reduction)
"""The field of what makes one value of all positions along the dimensions that it names."""
