"""Choosing: extremes, whose place is a recorded switch, and operators that take entries by masks and indices.

*Source*: Zeiler & Fergus (2013) 2.1 (switches); docs/rules.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from backlight.operators import local
from backlight.operators.adjoint import IN_PLACE
from backlight.operators.fields import cell_by_cell, mixing, of_one_signal, reduction
from backlight.operators.kinds import gate_if_held
from backlight.operators.operator import (
    Example,
    Field,
    Operator,
    OperatorClass,
    Origin,
    Paths,
    Rewriting,
    Rule,
    Seen,
    examples_of,
    named,
)
from backlight.operators.products import with_factors_frozen
from backlight.operators.reading import aten, operands, options_of
from backlight.operators.rectifiers import rectify
from backlight.operators.spread import Spread, Spreads

# --- extremes -------------------------------------------------------------------------------------------------


def select_extreme(x: Tensor, dims: Sequence[int], keepdim: bool, largest: bool) -> Tensor:
    """Return the maximum or minimum of x over dims; the signal goes to its first place in raster order."""
    dims = sorted(d % x.dim() for d in (dims or range(x.dim())))  # none named: all
    kept = [d for d in range(x.dim()) if d not in dims]
    # (kept..., cells): what is reduced comes last, in raster order, so that argmax finds its first place.
    flat = x.permute(*kept, *dims).flatten(len(kept))
    place = flat.argmax(-1, keepdim=True) if largest else flat.argmin(-1, keepdim=True)
    value = flat.gather(-1, place).squeeze(-1)  # (kept...), with a gradient that goes to that place alone
    for d in dims if keepdim else ():  # ascending: each dimension of size 1 is put back where it was
        value = value.unsqueeze(d)
    return value


def select_of_two(left: Tensor, right: Tensor, largest: bool) -> Tensor:
    """Return the maximum or minimum of two signals; where they are equal, the left one is the switch."""
    # `where` passes each entry's signal to the side that it took; torch.maximum would halve it at ties.
    return torch.where(left >= right if largest else left <= right, left, right)


def _extreme_kind(node: fx.Node, paths: Paths) -> OperatorClass:
    """A rectifier as max(x, c) with a constant; else a selector."""
    # max(x, c) has two operands, one of them a signal; x.max() has one.
    is_rectifier = len(paths.signals(node)) == 1 and len(node.all_input_nodes) == 2
    return OperatorClass.RECTIFIER if is_rectifier else OperatorClass.SELECTOR


def _minimum_kind(node: fx.Node, paths: Paths) -> OperatorClass:
    """A selector of the first operand.

    Unknown, if any other operand changes with the pixels.
    """
    return OperatorClass.SELECTOR if paths.first_only(node) else OperatorClass.UNKNOWN


def _of_two_or_all(seen: Seen) -> Spreads:
    """Of two operands the same place; of one the whole image along the dimensions that it reduces."""
    second = seen.node.args[1] if len(seen.node.args) > 1 else None
    return cell_by_cell(seen) if isinstance(second, fx.Node) else reduction(seen)


def _select(largest: bool) -> Rule:
    """Return the rule of an extreme of two signals, or of all entries of one."""

    def rule(at: Rewriting) -> fx.Node | None:
        if at.kind is OperatorClass.RECTIFIER:
            # maximum(c, x): the rectifiers' rule takes the signal as its first argument.
            constant_first = at.node.args[0] not in at.paths.dependent
            return rectify(replace(at, args=at.args[::-1]) if constant_first else at)
        if len(at.args) == 1:  # x.max()
            return at.call(select_extreme, at.args[0], [], False, largest)
        # x.max(1) records the places of its extremes itself, and torch's derivative goes there alone.
        is_of_two = isinstance(at.args[1], fx.Node)
        return at.call(select_of_two, *at.args, largest) if is_of_two else None

    passes = "Pass the signal to the {} of two operands, or of all entries, only"
    rectifies = "; max(x, c) with a constant has the rectifiers' rule."
    rule.__doc__ = passes.format("larger") + rectifies if largest else passes.format("smaller") + "."
    return rule


def _select_over(largest: bool) -> Rule:
    """Return the rule of an extreme over some dimensions."""

    def rule(at: Rewriting) -> fx.Node:
        """Pass the signal to the place of the extreme; of equal values, to the first in raster order."""
        options: dict[str, Any] = {"dim": [], "keepdim": False} | options_of(at.node, at.args, at.kwargs)
        return at.call(select_extreme, at.args[0], options["dim"], options["keepdim"], largest)

    return rule


# --- by masks and indices -------------------------------------------------------------------------------------


def _chooser_kind(node: fx.Node, paths: Paths) -> OperatorClass:
    """Linear, or a gate where the choice depends on the pixels; unknown where entries are reduced, not replaced."""
    return OperatorClass.UNKNOWN if "reduce" in node.kwargs else gate_if_held(node, paths)


def _hold_choice(at: Rewriting) -> fx.Node | None:
    """Hold the choice fixed, if it depends on the pixels."""
    if not at.holds_factors:
        return None
    args, kwargs = with_factors_frozen(at)
    return at.call(at.node.target, *args, **kwargs)  # type: ignore[arg-type]


def _gathered(node: fx.Node, spread: Spread) -> Spread:
    """The whole image along the dimension that is indexed; along all, if several are."""
    indices: Any = node.args[1]
    # x[:, index] has the indices (None, index): None keeps its dimension. Several indices merge their dimensions.
    places = [d for d, index in enumerate(indices) if index is not None]
    return spread.mixed(places) if len(places) == 1 else spread.with_roles("" for _ in spread.roles)


def _chooser(
    names: str,
    place: int,
    *functions: Callable[[Tensor], Tensor],
    field: Field | None = None,
    gives_maps: bool = False,
) -> Operator:
    """Return an entry.

    Args:
        names: The operators.
        place: Of the argument that only says which or where: it is recorded and held fixed.
        functions: Examples.
        field: Their field rule.
        gives_maps: Whether they take and give maps by definition.
    """

    def holds(node: fx.Node, paths: Paths) -> tuple[fx.Node, ...]:
        # `index` has a list of indices in that place, others one mask; a constant one needs no recording.
        return tuple(n for n in operands(node.args[place]) if n in paths.dependent)

    return Operator(
        named(names),
        kind=_chooser_kind,
        holds=holds,
        origin=Origin.ENTRIES,
        field=field,
        gives_maps=gives_maps,
        rule=_hold_choice,
        examples=examples_of(*functions),
    )


def _places(x: Tensor) -> Tensor:
    return torch.tensor([2, 0, 2], device=x.device)


def _like_places(x: Tensor) -> Tensor:
    return torch.zeros_like(x[:, :2], dtype=torch.long)


# --- the entries ----------------------------------------------------------------------------------------------

_MAXIMUM = Operator(
    ("maximum",),
    kind=_extreme_kind,
    field=cell_by_cell,
    rule=_select(largest=True),
    is_local=local.cell_by_cell,
    examples=(
        Example(lambda x: torch.maximum(x, x * -2)),
        Example(lambda x: torch.maximum(x, torch.ones_like(x))),
    ),
)


def _selector(names: str, *functions: Callable[[Tensor], Tensor], **more: Any) -> Operator:
    entry = Operator(named(names), kind=OperatorClass.SELECTOR, examples=examples_of(*functions))
    return replace(entry, **more)


OPERATORS = (
    _MAXIMUM,
    replace(
        _MAXIMUM,
        names=("max",),
        field=_of_two_or_all,
        is_local=None,
        examples=(
            Example(lambda x: x.max(1, keepdim=True).values),
            Example(lambda x: aten.max.other(x, x.flip(1))),
        ),
    ),
    _selector(
        "minimum",
        lambda x: torch.minimum(x, x * -2),
        field=cell_by_cell,
        rule=_select(largest=False),
        is_local=local.cell_by_cell,
    ),
    _selector(
        "min", lambda x: x.min(1, keepdim=True).values, field=_of_two_or_all, rule=_select(largest=False)
    ),
    _selector("amax", lambda x: x.amax((2, 3)), field=reduction, rule=_select_over(largest=True)),
    _selector("amin", lambda x: x.amin(1, keepdim=True), field=reduction, rule=_select_over(largest=False)),
    _selector("topk sort", lambda x: x.topk(2, 1).values, lambda x: x.sort(1).values, field=mixing),
    _selector("median kthvalue", lambda x: x.median(1).values, lambda x: x.kthvalue(2, 1).values),
    _selector("abs", torch.abs, field=cell_by_cell),  # max(x, -x), a maxout
    _selector("clamp_max", lambda x: x.clamp_max(0.1), kind=_minimum_kind, field=cell_by_cell),
    Operator((select_of_two,), adjoint=IN_PLACE),
    _chooser("where", 0, lambda x: torch.where(x > x.flip(1), x * 2, x), field=cell_by_cell),
    _chooser("masked_fill", 1, lambda x: x.masked_fill(x < -1, 0.0), field=cell_by_cell),
    _chooser("index", 1, lambda x: x[:, _places(x)], field=of_one_signal(_gathered)),
    _chooser("index_select", 2, lambda x: x.index_select(1, _places(x)), field=mixing),
    _chooser("index_put", 1, lambda x: aten.index_put.default(x, [None, _places(x)[:2]], x[:, 1:] * 2)),
    _chooser("masked_scatter", 1, lambda x: x.masked_scatter(x > 0.5, x * 2)),
    _chooser("take_along_dim", 1, lambda x: x.take_along_dim(_like_places(x), 1)),
    _chooser("gather", 2, lambda x: x.gather(1, _like_places(x))),
    _chooser(
        "grid_sampler grid_sampler_2d",
        1,
        lambda x: F.grid_sample(x, x[:, :2].movedim(1, 3).tanh()),
        gives_maps=True,
    ),
    _chooser(
        "max_unpool2d",
        1,
        lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), (2, 2)),
        gives_maps=True,
    ),
    _chooser(
        "index_add index_copy index_fill scatter scatter_add",
        2,
        lambda x: x.index_add(1, _places(x), x * 2),
        lambda x: x.index_copy(1, _places(x)[:2], x[:, 1:] * 2),
        lambda x: x.scatter_add(1, _like_places(x), x[:, 1:]),
        lambda x: x.scatter(1, _like_places(x), x[:, 1:]),
    ),
)
