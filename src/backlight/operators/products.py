"""Products: linear where one factor is a constant, gates where both are signals.

In a gate one factor is the signal; the other is recorded and held fixed in the backward pass (`gates=frozen`).

*Source*: docs/rules.md.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from backlight.operators import local
from backlight.operators.adjoint import (
    Adjoint,
    Below,
    Walk,
    on_common_cells,
    seen_by,
    summed,
)
from backlight.operators.factors import holds_a_factor, holds_second_factor, holds_weights, signal_factors
from backlight.operators.fields import cannot_be_told, cell_by_cell, gated, of_one_signal
from backlight.operators.kinds import gate
from backlight.operators.operator import (
    Example,
    Field,
    Operator,
    OperatorClass,
    Origin,
    Paths,
    Rewriting,
    Seen,
    examples_of,
    named,
)
from backlight.operators.reading import operands, sizes_of
from backlight.operators.spread import Spread, Spreads, contracted, stretched
from backlight.operators.windows import Windows


def product_kind(node: fx.Node, paths: Paths) -> OperatorClass:
    """A gate where two factors are signals; else linear."""
    return gate(node, paths) if len(signal_factors(node, paths)) > 1 else OperatorClass.LINEAR


def _kind_behind_sum(node: fx.Node, paths: Paths) -> OperatorClass:
    """A gate where both multiplied operands are signals; else linear."""
    return gate(node, paths) if len(signal_factors(node, paths, first=1)) > 1 else OperatorClass.LINEAR


# --- the rule -------------------------------------------------------------------------------------------------


def freeze_factors(at: Rewriting) -> fx.Node | None:
    """Hold a gate's factor fixed; of equal factors, as in x * x, only the first passes the signal."""
    return _freeze(at, 0)


def _freeze_factors_behind_sum(at: Rewriting) -> fx.Node | None:
    """Hold a gate's factor fixed; the added first operand passes the signal even if it is a factor too."""
    return _freeze(at, 1)


def _freeze(at: Rewriting, n_added: int) -> fx.Node | None:
    # None leaves the operator as it is: a linear one has its adjoint, and `gates=vjp` passes a signal to both factors.
    return hold_factors(at, n_added) if at.holds_factors else None


def hold_factors(at: Rewriting, n_added: int = 0) -> fx.Node:
    """Put in a product whose factors pass no signal, behind the first `n_added` operands."""
    args, kwargs = with_factors_frozen(at, n_added)
    return at.call(at.node.target, *args[:n_added], *_repeats_frozen(at, args[n_added:]), **kwargs)  # type: ignore[arg-type]


def with_factors_frozen(at: Rewriting, n_added: int = 0) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments with the factors in them held fixed, behind the first `n_added`."""
    # One node that stops the signal for each factor, put in wherever the factor stands among the arguments.
    frozen = {factor: at.frozen(factor) for factor in at.factors()}
    args = (*at.args[:n_added], *fx.map_arg(at.args[n_added:], lambda n: frozen.get(n, n)))
    return args, fx.map_arg(at.kwargs, lambda n: frozen.get(n, n))


def _repeats_frozen(at: Rewriting, args: tuple[Any, ...]) -> tuple[Any, ...]:
    # x * x becomes x * detach(x): the second and every later x is a factor.
    seen: set[fx.Node] = set()

    def freeze(node: fx.Node) -> fx.Node:
        if node in seen:
            return at.frozen(node)
        seen.add(node)
        return node

    return fx.map_arg(args, freeze)


# --- the fields -----------------------------------------------------------------------------------------------


def matrix_product(first: int = 0) -> Field:
    """Return the field of left @ right: the contracted dimension is mixed, the others keep their places.

    Args:
        first: Which argument is the left factor.
    """

    def field(seen: Seen) -> Spreads:
        """The whole image along the dimension that is summed over; along the others the same place."""
        node = seen.node
        left, right = node.args[first], node.args[first + 1]
        ranks = [len(sizes_of(node)), len(sizes_of(left)), len(sizes_of(right))]
        # A vector lacks a dimension, and a first operand that is added (addmm) is neither factor.
        if min(ranks) < 2 or not seen.signals.keys() <= {left, right}:
            return cannot_be_told(node, seen.signals.values())
        # (..., i, k) @ (..., k, j): k is the last dimension of the left factor and the last but one of the right.
        kept: list[Spread] = []
        held: list[Spread] = []
        for place, operand, other in ((-1, left, right), (-2, right, left)):
            if operand in seen.operands:
                spread = contracted_product(seen, operand, other, place)
                (kept if operand in seen.signals else held).append(spread)
        return gated(kept, held)

    return field


def contracted_product(seen: Seen, operand: Any, other: Any, place: int) -> Spread:
    """Return what one factor of a matrix product brings to the product, whose size it gets.

    Args:
        seen: The product.
        operand: The factor.
        other: The other factor.
        place: The factor's dimension that is summed over: -1 of the left one, -2 of the right one.
    """
    # The factor's leading (batch) dimensions are broadcast; its last two are now the product's, i and j. A factor that
    # has no spread is weights: then what takes the place of k is channels.
    target = sizes_of(seen.node)
    spread = contracted(seen.operands[operand], place, seen.operands.get(other))
    return stretched(spread, (*sizes_of(operand)[:-2], *target[-2:]), target)


def _map_channels(node: fx.Node, spread: Spread) -> Spread:
    """What the operand sees in the same place, if its last dimension is channels; else the whole image along it."""
    return contracted(spread, -1)


# --- the backward pass ----------------------------------------------------------------------------------------


def _multiply(node: fx.Node, signal: Windows, walk: Walk) -> Below:
    # d(a * b): a gets r * b, b gets r * a, each summed over what it was stretched to. For x * x, x gets both.
    signal = on_common_cells(node, signal, walk)
    for below, other in (node.args, node.args[::-1]):
        if below in walk.below[node]:
            product = signal.with_data(signal.data * seen_by(other, signal, walk))
            yield below, summed(product, below, node, walk)  # type: ignore[arg-type]


def _transpose_weights(node: fx.Node, signal: Windows, walk: Walk) -> Below:
    """Pass the signal (..., out) through the weights (out, in)."""
    # The weights need all outputs: no windows along the last dimension. (..., out) @ (out, in) -> (..., in).
    signal = signal.along(signal.data.dim() - 1, walk.record.shapes[node])
    yield node.args[0], signal.with_data(signal.data @ walk.record.values[node.args[1]])  # type: ignore[index]


def weights_are_constant(node: fx.Node, dependent: Set[fx.Node]) -> bool:
    """Return whether nothing but the first operand depends on the pixels."""
    # The bias counts too: where it is made from the image, a signal goes to it as well.
    return not any(n in dependent for n in operands([node.args[1:], node.kwargs]))


# --- the entries ----------------------------------------------------------------------------------------------


_MATRIX_PRODUCT = Operator(
    named("matmul"),
    kind=product_kind,
    holds=holds_a_factor,
    origin=Origin.MIXTURES,
    field=matrix_product(),
    rule=freeze_factors,
    examples=(
        Example(lambda x, c: torch.matmul(x, c), constants=((12, 5),)),
        Example(lambda x: x.flatten(2).softmax(-1) @ x.flatten(2).transpose(1, 2)),
    ),
)


def _product(names: str, *functions: Example | Callable[..., Tensor], **more: Any) -> Operator:
    return replace(_MATRIX_PRODUCT, names=named(names), examples=examples_of(*functions), **more)


def _product_behind_sum(
    names: str, *functions: Example | Callable[..., Tensor], field: Field | None
) -> Operator:
    """Return the entry of a product that is added to the first operand."""
    return _product(
        names,
        *functions,
        kind=_kind_behind_sum,
        holds=holds_second_factor,
        adds_first=True,
        field=field,
        rule=_freeze_factors_behind_sum,
    )


OPERATORS = (
    _product(
        "mul",
        Example(lambda x, c: x * c, constants=((3, 1, 1),)),
        lambda x: x * x.mean((2, 3), keepdim=True).sigmoid(),
        lambda x: x * x,
        origin=Origin.ENTRIES,
        field=cell_by_cell,
        adjoint=Adjoint(_multiply, needs_values=True),
        is_local=local.cell_by_cell,
    ),
    _product(
        "linear",
        Example(
            lambda x, c0, c1: F.linear(x, c0, c1),
            constants=(
                (5, 12),
                (5,),
            ),
        ),
        Example(lambda x, c: F.linear(x.permute(0, 2, 3, 1), c).permute(0, 3, 1, 2), constants=((5, 3),)),
        holds=holds_weights,
        field=of_one_signal(_map_channels),
        maps_channels=True,
        adjoint=Adjoint(_transpose_weights, fits=weights_are_constant),
        is_local=local.by_definition,
    ),
    _MATRIX_PRODUCT,
    _product("mm", Example(lambda x, c: torch.mm(x[:, 0, 0], c), constants=((12, 5),))),
    _product("bmm", lambda x: torch.bmm(x[:, 0], x[:, 1].sigmoid())),
    _product("mv", Example(lambda x, c: torch.mv(x[:, 0, 0], c)[:, None], constants=((12,),)), field=None),
    _product(
        "dot inner outer tensordot", Example(lambda x, c: torch.inner(x, c), constants=((4, 12),)), field=None
    ),
    _product(
        "einsum", Example(lambda x, c: torch.einsum("nchw,kc->nkhw", x, c), constants=((4, 3),)), field=None
    ),
    _product_behind_sum(
        "addmm baddbmm",
        Example(
            lambda x, c0, c1: torch.addmm(c0, x[:, 0, 0], c1),
            constants=(
                (5,),
                (12, 5),
            ),
        ),
        lambda x: torch.baddbmm(x[:, 2], x[:, 0], x[:, 1].sigmoid()),
        field=matrix_product(first=1),
    ),
    _product_behind_sum(
        "addmv addbmm",
        Example(
            lambda x, c0, c1: torch.addmv(c0, x[:, 0, 0], c1)[:, None],
            constants=(
                (1,),
                (12,),
            ),
        ),
        field=None,
    ),
    _product_behind_sum("addcmul", lambda x: torch.addcmul(x, x, x.sigmoid()), field=cell_by_cell),
)
