"""Receptive fields: which pixels a unit of any layer can see, by exact arithmetic over the captured graph.

Every operator has a small rule that says how the dimensions and intervals of its input become those of its
output. A field always contains what the unit sees; where that cannot be told along an axis, it is the whole
image. What a tensor's dimensions are is another question: an operator that by its own definition takes
(n, c, h, w), such as a convolution, gives feature maps even where nobody can say any more what they see.

*Source*: the arithmetic of Araujo et al., *Computing Receptive Fields of Convolutional Neural Networks* (2019).
*Differs*: an interval for each axis, so that branches that are not aligned give their union and no error.
*Differs*: the field of a gated product is that of its signal; `gates_ignored` says that a factor sees more.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import torch
from torch import fx

from backlight.geometry import Axis, ReceptiveField
from backlight.operators import sliding  # noqa: F401, registers its rules
from backlight.operators.paths import (
    ATTENTION,
    OperatorClass,
    PathAnalysis,
    all_operands,
    operator_name,
    packet,
    shape_of,
)
from backlight.operators.rearrange import scattered
from backlight.operators.spread import (
    RULES,
    Spread,
    Spreads,
    arguments,
    as_sizes,
    contracted,
    joined,
    sizes_of,
    stretched,
)

__all__ = ["Spread", "receptive_field", "trace_spreads"]

aten = torch.ops.aten
_PRODUCTS = ATTENTION | {aten.matmul, aten.mm, aten.bmm, aten.addmm, aten.baddbmm}
_BUNDLES = {aten.cat, aten.concat, aten.concatenate, aten.stack}
_SCATTERS = {aten.slice_scatter, aten.select_scatter}
_CHOICES = {aten.where, aten.masked_fill}  # elementwise, but not all of their overloads are tagged so
_OF_MAPS = frozenset(
    (
        *("conv2d", "conv_transpose2d", "convolution", "_native_batch_norm_legit_no_training", "batch_norm"),
        *("instance_norm", "group_norm", "native_group_norm", "channel_shuffle", "feature_dropout"),
        *(
            "max_pool2d",
            "max_pool2d_with_indices",
            "adaptive_max_pool2d",
            "avg_pool2d",
            "adaptive_avg_pool2d",
        ),
        *(
            "_adaptive_avg_pool2d",
            "max_unpool2d",
            "col2im",
            "pixel_shuffle",
            "pixel_unshuffle",
            "grid_sampler",
        ),
        *(
            "grid_sampler_2d",
            "reflection_pad2d",
            "replication_pad2d",
            "upsample_nearest2d",
            "upsample_bilinear2d",
        ),
        *(
            "upsample_bicubic2d",
            "_upsample_nearest_exact2d",
            "_upsample_bilinear2d_aa",
            "_upsample_bicubic2d_aa",
        ),
    )
)
_MAP = ("n", "c", "h", "w")


def receptive_field(spread: Spread) -> ReceptiveField | None:
    """Return the receptive field of a layer; None where it is the whole image along an axis."""
    if spread.rows is None or spread.cols is None:
        return None
    return ReceptiveField(spread.rows, spread.cols, spread.gates_ignored)


def trace_spreads(graph: fx.Graph, analysis: PathAnalysis) -> dict[fx.Node, Spread]:
    """Return the spread of every node that carries a signal in one tensor.

    Args:
        graph: A captured graph whose placeholder holds a batch of images (n, c, h, w).
        analysis: The analysis of the same graph.

    Example:
        >>> from backlight.network.capture import export_graph
        >>> graph = export_graph(torch.nn.Conv2d(3, 8, 5, stride=2, padding=1), torch.zeros(1, 3, 32, 32)).graph
        >>> image, conv = trace_spreads(graph, PathAnalysis(graph)).values()
        >>> receptive_field(conv).box(0, 1)
        Box(top=-1, left=1, bottom=4, right=6)
    """
    found: dict[fx.Node, Spreads] = {}
    for node in graph.nodes:
        if node in analysis.dependent and node.op != "output":
            spread = _follow(node, analysis, found)
            found[node] = _as_map(node, spread, analysis) if isinstance(spread, Spread) else spread
    return {n: s for n, s in found.items() if isinstance(s, Spread) and shape_of(n) is not None}


def _follow(node: fx.Node, analysis: PathAnalysis, found: dict[fx.Node, Spreads]) -> Spreads:
    """Return the spread of a node from the spreads of its operands."""
    operands = {n: s for n in all_operands(node) if isinstance(s := found.get(n), Spread)}
    signals = {n: operands[n] for n in analysis.origins(node) if n in operands}
    result: Spreads
    if node.op == "placeholder":
        return _pixels(node)
    if node.target is operator.getitem:
        whole, index = found[node.args[0]], node.args[1]  # type: ignore[index]
        result = whole[index] if isinstance(whole, tuple) else whole  # type: ignore[index]
    elif not signals or 0 in sizes_of(node):
        result = _unknown(node, operands.values())
    else:
        result = _apply_rule(node, signals, operands)
    if shape_of(node) is not None and isinstance(result, Spread) and len(result.roles) != len(sizes_of(node)):
        return _unknown(node, operands.values())
    return result


def _as_map(node: fx.Node, spread: Spread, analysis: PathAnalysis) -> Spread:
    """Return the spread with the roles that a four-dimensional tensor has by its operator's definition.

    *Convention*: what a rectifier gives keeps its input's order. Where that is unknown it is (n, c, h, w), or
    (n, h, w, c) where the channels are known to be last, as behind a linear map. Positions in a row, and windows
    that take the place of images, are no rows and columns.
    """
    roles, sizes = spread.roles, sizes_of(node)
    known = sorted(roles) == sorted(_MAP) or {"hw", "nc"} & set(roles)
    if len(sizes) != 4 or known or (roles[0] != "n" and not _is_batch(node, sizes[0])):
        return spread
    made_by = node.args[0] if node.target is operator.getitem else node
    order: tuple[str, ...] | None = None
    if isinstance(made_by, fx.Node) and operator_name(made_by) in _OF_MAPS:
        order = _MAP
    elif analysis.classify(node) is OperatorClass.RECTIFIER or packet(node) is aten.linear:
        order = _likely_order(roles)
    if order is None:
        return spread
    rows = spread.rows if roles[order.index("h")] == "h" else None
    cols = spread.cols if roles[order.index("w")] == "w" else None
    return replace(spread, roles=order, rows=rows, cols=cols)


def _likely_order(roles: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the roles of a map's dimensions, as far as the known ones tell; None for heads of tokens."""
    if roles[3] == "c" and roles[1] in ("", "h") and roles[2] in ("", "w"):
        return ("n", "h", "w", "c")
    fits = all(role in ("", "c", letter) for role, letter in zip(roles[1:], _MAP[1:], strict=True))
    return _MAP if fits and not (roles[2] == "" and roles[3] == "c") else None


def _is_batch(node: fx.Node, size: int) -> bool:
    pixels = next(iter(node.graph.find_nodes(op="placeholder")))
    return size == sizes_of(pixels)[0]


def _apply_rule(node: fx.Node, signals: dict[fx.Node, Spread], operands: dict[fx.Node, Spread]) -> Spreads:
    target = packet(node)
    if _is_pointwise(node):
        aligned = {n: stretched(s, sizes_of(n), sizes_of(node)) for n, s in operands.items()}
        return _gated([aligned[n] for n in signals], [s for n, s in aligned.items() if n not in signals])
    if target in _PRODUCTS:
        return _product(node, signals, operands)
    if target in _BUNDLES:
        return _bundle(node, signals)
    if target in _SCATTERS:
        below, source = (signals.get(n) for n in node.args[:2])  # type: ignore[arg-type]
        return scattered(node, source, below) if source is not None else below or _unknown(node, ())
    if target in RULES and len(signals) == 1:
        result = RULES[target](node, *signals.values())
        if len(operands) > 1 and isinstance(result, Spread):  # weights made from the image
            return _gated([result], [result.with_roles("" for _ in result.roles)])
        return result
    return _unknown(node, signals.values())


def _pixels(node: fx.Node) -> Spread:
    pixel, rank = Axis(1, Fraction(1), 0), len(sizes_of(node))
    roles = ("n", "c", "h", "w") if rank == 4 else ("n", *[""] * (rank - 1))
    return Spread(roles, pixel, pixel).with_roles(roles)


def _unknown(node: fx.Node, spreads: Iterable[Spread]) -> Spreads:
    """Return the cautious answer: every entry sees the whole image; the first dimension is the batch, if as long."""
    value, ignored = node.meta.get("val"), any(s.gates_ignored for s in spreads)
    shapes = [as_sizes(v) for v in (value if isinstance(value, (tuple, list)) else [value])]
    firsts = ["n" if sizes and _is_batch(node, sizes[0]) else "" for sizes in shapes]
    roles = [(first, *[""] * len(sizes))[: len(sizes)] for first, sizes in zip(firsts, shapes, strict=True)]
    answers = tuple(Spread(own, None, None, ignored) for own in roles)
    return answers if isinstance(value, (tuple, list)) else answers[0]


_POINTWISE_UNTAGGED = {aten.max.other, aten.min.other, aten.leaky_relu.default}
"""The last is tagged by newer torch only (not by 2.9 and 2.10)."""


def _is_pointwise(node: fx.Node) -> bool:
    target: Any = node.target
    is_tagged = torch.Tag.pointwise in getattr(target, "tags", ())
    return is_tagged or target in _POINTWISE_UNTAGGED or packet(node) in _CHOICES


def _gated(signals: list[Spread], factors: list[Spread]) -> Spread:
    """Return the union of signals, and whether any factor that scales them sees pixels outside it."""
    union = joined(signals)
    axes = union.rows, union.cols
    unions = [joined([union, factor]) for factor in factors if axes != (None, None)]
    ignored = any(both.gates_ignored or (both.rows, both.cols) != axes for both in unions)
    return replace(union, gates_ignored=union.gates_ignored or ignored)


# --- several signals ----------------------------------------------------------------------------------------


def _bundle(node: fx.Node, signals: dict[fx.Node, Spread]) -> Spreads:
    """Follow cat and stack: what does not fill its dimension was moved along it."""
    dim, rank = arguments(node)["dim"], len(sizes_of(node))
    if packet(node) is aten.stack:
        dim %= rank
        spreads = [s.with_roles((*s.roles[:dim], "c", *s.roles[dim:])) for s in signals.values()]
    else:
        full = sizes_of(node)[dim]
        moved = [n for n in signals if len(sizes_of(n)) == rank and sizes_of(n)[dim] != full]
        spreads = [s.mixed([dim]) if n in moved else s for n, s in signals.items()]
    return joined(spreads) if all(len(s.roles) == rank for s in spreads) else _unknown(node, spreads)


def _product(node: fx.Node, signals: dict[fx.Node, Spread], operands: dict[fx.Node, Spread]) -> Spreads:
    """Follow left @ right: the contracted dimension is mixed, the others keep their places."""
    fused, target = packet(node) in ATTENTION, sizes_of(node)
    args: Any = node.args[1:] if packet(node) in (aten.addmm, aten.baddbmm) else node.args
    left, right = args[0], args[2 if fused else 1]  # fused: (weights of query and key) @ value
    ranks = [len(target), len(sizes_of(left)), len(sizes_of(right))]
    if min(ranks) < 2 or not signals.keys() <= {left, right}:
        return _unknown(node, signals.values())
    kept: list[Spread] = []
    held: list[Spread] = []
    for place, operand, other in ((-1, left, right), (-2, right, left)):
        if operand in operands:
            spread = contracted(operands[operand], place, operands.get(other))
            spread = stretched(spread, (*sizes_of(operand)[:-2], *target[-2:]), target)
            (kept if operand in signals and not (fused and place == -1) else held).append(spread)
    if fused and args[1] in operands:  # every weight comes of all entries of all keys
        keys = operands[args[1]]
        keys = keys.with_roles((*keys.roles[:-2], "", ""))
        held.append(stretched(keys, (*sizes_of(args[1])[:-2], *target[-2:]), target))
    return _gated(kept, held)
