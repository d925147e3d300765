"""Elementwise linear operators: sums, signs and copies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx

from backlight.operators import local
from backlight.operators.adjoint import IN_PLACE, PASS_ON, Adjoint, Below, Walk, summed
from backlight.operators.carry import written_over
from backlight.operators.fields import cell_by_cell, mixing, of_one_signal, unchanged
from backlight.operators.kinds import linear_in_first
from backlight.operators.operator import (
    Example,
    Field,
    Operator,
    OperatorClass,
    Origin,
    Paths,
    Rewriting,
    examples_of,
    named,
)
from backlight.operators.reading import (
    all_but_first,
    aten,
    every_operand,
    only_first,
    options_of,
    packet,
    sizes_of,
)
from backlight.operators.spread import Spread, stretched
from backlight.operators.windows import Windows


def _add(node: fx.Node, signal: Windows, walk: Walk) -> Below:
    """Pass the signal to both operands: to the second one times alpha, and with its sign."""
    scale: Any = options_of(node, node.args, node.kwargs).get("alpha", 1)
    second = scale * (-1 if packet(node) is aten.sub else 1)
    for below, factor in zip(node.args[:2], (1, second), strict=True):
        if below in walk.below[node]:
            # Both operands may get one and the same tensor: only a product is fresh, free to be written to.
            data = signal.data if factor == 1 else signal.data * factor
            yield below, summed(signal.with_data(data, factor != 1), below, node, walk)  # type: ignore[arg-type]


def _interpolation_kind(node: fx.Node, paths: Paths) -> OperatorClass:
    """Linear; unknown if the weight between the two depends on the pixels too."""
    return OperatorClass.UNKNOWN if node.args[2] in paths.dependent else OperatorClass.LINEAR


def _read_to(node: fx.Node) -> list[fx.Node]:
    """Return the operands, without a tensor that only lends its type."""
    return only_first(node) if node.target is aten.to.other else every_operand(node)


def _written(node: fx.Node, spread: Spread) -> Spread:
    """What the second operand, which is written over the first, sees in the same place."""
    return stretched(spread, sizes_of(node.args[1]), sizes_of(node))


def _pass_through(at: Rewriting) -> fx.Node:
    """Pass the signal on: `detach` in a model stops its training, not the signal."""
    return at.args[0]  # type: ignore[no-any-return]


def _write_over(at: Rewriting) -> fx.Node:
    """Pass the signal to what was written; PyTorch has no derivative of it."""
    return at.call(written_over, *at.args[:2])


_SUM = Operator(
    named("add sub"),
    kind=OperatorClass.LINEAR,
    origin=Origin.ENTRIES,
    field=cell_by_cell,
    adjoint=Adjoint(_add),
    is_local=local.cell_by_cell,
    examples=(
        Example(lambda x: torch.add(x, x.neg(), alpha=2)),
        Example(lambda x: x - x.mean((2, 3), keepdim=True)),
    ),
)


def _copy(
    names: str,
    *functions: Callable[[Tensor], Tensor],
    field: Field | None = unchanged,
    is_local: bool = True,
    **more: Any,
) -> Operator:
    entry = Operator(
        named(names),
        kind=linear_in_first,
        origin=Origin.ENTRIES,
        field=field,
        is_local=local.cell_by_cell if is_local else None,
        examples=examples_of(*functions),
    )
    return replace(entry, **more)


OPERATORS = (
    _SUM,
    replace(_SUM, names=("rsub",), adjoint=IN_PLACE, examples=(Example(lambda x: 1 - x),)),
    Operator(
        ("lerp",),
        kind=_interpolation_kind,
        origin=Origin.MIXTURES,
        field=cell_by_cell,
        examples=(Example(lambda x: torch.lerp(x, x.flip(1), 0.25)),),
    ),
    Operator(("complex",), kind=OperatorClass.LINEAR, origin=Origin.MIXTURES),
    _copy("neg", torch.neg, field=cell_by_cell, adjoint=IN_PLACE),
    _copy("nan_to_num", torch.nan_to_num, field=cell_by_cell, is_local=False),
    _copy("clone", torch.clone, field=cell_by_cell, adjoint=PASS_ON),
    _copy("alias", lambda x: aten.alias.default(x), adjoint=PASS_ON),
    _copy("dropout", adjoint=PASS_ON),
    _copy("contiguous", adjoint=PASS_ON, is_local=False),
    _copy("_to_copy", lambda x: x.float().double()),
    _copy("detach", stands_for=_pass_through),
    _copy(
        "copy",
        lambda x: aten.copy.default(torch.zeros_like(x), x.flip(2)),
        reads=all_but_first,
        field=of_one_signal(_written),
        stands_for=_write_over,
        is_local=False,
    ),
    _copy("to", reads=_read_to, is_local=False),
    _copy("type_as", reads=only_first, is_local=False),
    _copy("lift_fresh_copy alpha_dropout feature_alpha_dropout", is_local=False),
    _copy("lift_fresh", field=None, is_local=False),
    _copy(
        "feature_dropout",
        gives_maps=True,
        is_local=False,
    ),
    _copy("cumsum", lambda x: x.cumsum(1), field=mixing, is_local=False),
    _copy("diff", lambda x: x.diff(dim=1), field=None, is_local=False),
    Operator(
        named(
            "zeros_like ones_like full_like empty_like rand_like randn_like randint_like zero fill"
            " new_zeros new_ones new_full new_empty new_empty_strided"
        ),
        reads=all_but_first,
    ),
)
