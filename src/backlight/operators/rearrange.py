"""What operators do to dimensions that they keep, rearrange, drop or mix: rules of the receptive fields."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

from torch import fx

from backlight.operators.paths import aten, operator_name, packet
from backlight.operators.spread import (
    Spread,
    Spreads,
    Window,
    arguments,
    as_sizes,
    contracted,
    joined,
    rule,
    sizes_of,
    stretched,
)


@rule(
    "clone contiguous alias detach _to_copy to lift_fresh_copy dropout feature_dropout alpha_dropout"
    " feature_alpha_dropout tril triu type_as channel_shuffle"
    " _native_batch_norm_legit_no_training batch_norm hardswish prelu _prelu_kernel log_sigmoid"
)
def _unchanged(node: fx.Node, spread: Spread) -> Spread:
    return spread


def _dims(node: fx.Node, rank: int) -> list[int]:
    """Return the dimensions that an operator names, from 0; none named means all."""
    given, every = arguments(node), range(rank)
    value = given.get("dim", given.get("dims"))
    return [every[value]] if isinstance(value, int) else [every[d] for d in value or every]


@rule("softmax _softmax log_softmax _log_softmax cumsum cumprod flip roll sort topk glu index_select")
def _mixing(node: fx.Node, spread: Spread) -> Spread:
    return spread.mixed(_dims(node, len(spread.roles)))


@rule("mean sum prod amax amin max min var std logsumexp norm linalg_vector_norm argmax argmin")
def _reduction(node: fx.Node, spread: Spread) -> Spread:
    rank, keeps = len(spread.roles), arguments(node).get("keepdim")
    dims = _dims(node, rank)
    return spread.averaged(dims).with_roles(spread.roles[d] for d in range(rank) if keeps or d not in dims)


@rule("expand expand_as broadcast_to copy")
def _expansion(node: fx.Node, spread: Spread) -> Spread:
    """Follow a broadcast; of `copy` the first argument is the place that is written to, the second what is read."""
    source = node.args[1] if packet(node) is aten.copy else node.args[0]
    return stretched(spread, sizes_of(source), sizes_of(node))


@rule("linear")
def _linear(node: fx.Node, spread: Spread) -> Spread:
    return contracted(spread, -1)


@rule("select unbind")
def _selection(node: fx.Node, spread: Spread) -> Spreads:
    (dropped,) = _dims(node, len(spread.roles))
    one = spread.with_roles(role for d, role in enumerate(spread.roles) if d != dropped)
    value = node.meta["val"]
    return (one,) * len(value) if isinstance(value, (tuple, list)) else one


@rule("permute transpose t")
def _permutation(node: fx.Node, spread: Spread) -> Spread:
    order = list(range(len(spread.roles)))
    if operator_name(node) == "permute":
        order = _dims(node, len(order))
    elif len(order) > 1:
        a, b = (arguments(node).get(key, default) for key, default in (("dim0", 0), ("dim1", 1)))
        order[a], order[b] = order[b], order[a]
    return replace(spread, roles=tuple(spread.roles[d] for d in order))


@rule("repeat")
def _repetition(node: fx.Node, spread: Spread) -> Spread:
    times: Any = node.args[1]
    spread = spread.with_roles([""] * (len(times) - len(spread.roles)) + list(spread.roles))
    return spread.mixed(d for d, n_times in enumerate(times) if n_times != 1)


@rule("repeat_interleave")
def _repetition_in_place(node: fx.Node, spread: Spread) -> Spread:
    """Follow copies that stand beside their original, as in an upsampling by whole numbers."""
    times, dim = node.args[1], arguments(node).get("dim")
    if not isinstance(times, int) or dim is None:
        return spread.with_roles("" for _ in sizes_of(node))
    return spread.windowed(dim, Window(Fraction(1, times), Fraction(1, times) - 1, 0))


@rule("index")
def _gathering(node: fx.Node, spread: Spread) -> Spread:
    """Follow places that a constant names, which may stand in any order."""
    indices: Any = node.args[1]
    named = [d for d, index in enumerate(indices) if index is not None]
    return spread.mixed(named) if len(named) == 1 else spread.with_roles("" for _ in spread.roles)


@rule("slice")
def _slicing(node: fx.Node, spread: Spread) -> Spread:
    given = arguments(node)
    dim, start, step = given["dim"], given["start"] or 0, given["step"]
    if not (isinstance(start, int) and isinstance(step, int)):
        return spread.mixed([dim])
    size = sizes_of(node.args[0])[dim]
    start = max(start + size, 0) if start < 0 else min(start, size)
    return spread.windowed(dim, Window(step, start, start))


@rule("split split_with_sizes chunk")
def _splitting(node: fx.Node, spread: Spread) -> Spreads:
    (dim,), start, parts = _dims(node, len(spread.roles)), 0, []
    for part in node.meta["val"]:
        parts.append(spread.windowed(dim, Window(1, start, start)))
        start += as_sizes(part)[dim]
    return tuple(parts)


@rule("unfold")
def _windows_apart(node: fx.Node, spread: Spread) -> Spread:
    """Follow `x.unfold(dim, size, step)`: windows in the place of the dimension, their cells in a new last one."""
    given = arguments(node)
    spread = spread.windowed(given["dimension"], Window(given["step"], 0, given["size"] - 1))
    return spread.with_roles((*spread.roles, "c"))


def scattered(node: fx.Node, source: Spread, below: Spread | None) -> Spread:
    """Return the spread of a tensor that one signal was written into, at a slice or at one place.

    Args:
        node: A `slice_scatter` or `select_scatter`.
        source: The spread of what is written.
        below: That of what it is written into; None where that is a constant.
    """
    given, rank = arguments(node), len(sizes_of(node))
    dim = given["dim"] % rank
    if packet(node) is aten.select_scatter:
        written = replace(source, roles=(*source.roles[:dim], "", *source.roles[dim:]))
    else:
        start, step, size = given["start"] or 0, given["step"], sizes_of(node)[dim]
        if isinstance(start, int) and isinstance(step, int):
            start = max(start + size, 0) if start < 0 else start
            place = Fraction(-start, step)  # what lies between two places written to sees nothing
            written = source.windowed(dim, Window(Fraction(1, step), place, place))
        else:
            written = source.mixed([dim])
    return written if below is None else joined([below, written])
