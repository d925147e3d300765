"""Receptive fields: which pixels a unit of any layer can see, by exact arithmetic over the captured graph.

Every operator's entry has a small rule that says how the dimensions and intervals of its input become those of its
output. A field always contains what the unit sees; where that cannot be told along an axis, it is the whole
image. What a tensor's dimensions are is another question: an operator that by its own definition takes
(n, c, h, w), such as a convolution, gives feature maps even where nobody can say any more what they see.

*Source*: the arithmetic of Araujo et al., *Computing Receptive Fields of Convolutional Neural Networks* (2019).
"""

from __future__ import annotations

import operator
from dataclasses import replace
from fractions import Fraction

from torch import fx

from backlight.geometry import Axis, ReceptiveField
from backlight.operators.fields import cannot_be_told, whole_image
from backlight.operators.operator import OperatorClass, Seen
from backlight.operators.paths import PathAnalysis
from backlight.operators.reading import has_batch_size, shape_of, sizes_of
from backlight.operators.spread import Spread, Spreads
from backlight.operators.table import operands_read, operator_of

__all__ = ["Spread", "receptive_field", "trace_spreads"]

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
        >>> import torch
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
    # What gives several tensors has a tuple of spreads, and only its getitem nodes read it.
    operands = {n: s for n in operands_read(node) if isinstance(s := found.get(n), Spread)}
    signals = {n: operands[n] for n in analysis.origins(node) if n in operands}
    field = operator_of(node).field
    result: Spreads
    if node.op == "placeholder":
        return _pixels(node)
    if node.target is operator.getitem:
        whole, index = found[node.args[0]], node.args[1]  # type: ignore[index]
        result = whole[index] if isinstance(whole, tuple) else whole  # type: ignore[index]
    elif not signals or 0 in sizes_of(node):
        result = cannot_be_told(node, operands.values())
    else:
        result = (field or whole_image)(Seen(node, signals, operands))
    if shape_of(node) is not None and isinstance(result, Spread) and len(result.roles) != len(sizes_of(node)):
        return cannot_be_told(node, operands.values())
    return result


def _as_map(node: fx.Node, spread: Spread, analysis: PathAnalysis) -> Spread:
    """Return the spread with the roles that a four-dimensional tensor has by its operator's definition.

    *Convention*: what a rectifier gives keeps its input's order. Where that is unknown it is (n, c, h, w), or
    (n, h, w, c) where the channels are known to be last, as behind a linear map. Positions in a row, and windows
    that take the place of images, are no rows and columns.
    """
    roles, sizes = spread.roles, sizes_of(node)
    known = sorted(roles) == sorted(_MAP) or {"hw", "nc"} & set(roles)
    if len(sizes) != 4 or known or (roles[0] != "n" and not has_batch_size(node, sizes[0])):
        return spread
    made_by = node.args[0] if node.target is operator.getitem else node
    order: tuple[str, ...] | None = None
    if isinstance(made_by, fx.Node) and operator_of(made_by).gives_maps:
        order = _MAP
    elif analysis.classify(node) is OperatorClass.RECTIFIER or operator_of(node).maps_channels:
        order = _likely_order(roles)
    if order is None:
        return spread
    # Naming a dimension does not tell what it sees: an axis stays only where it was rows (columns) before.
    rows = spread.rows if roles[order.index("h")] == "h" else None
    cols = spread.cols if roles[order.index("w")] == "w" else None
    return replace(spread, roles=order, rows=rows, cols=cols)


def _likely_order(roles: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the roles of a map's dimensions, as far as the known ones tell; None for heads of tokens."""
    if roles[3] == "c" and roles[1] in ("", "h") and roles[2] in ("", "w"):
        return ("n", "h", "w", "c")
    fits = all(role in ("", "c", letter) for role, letter in zip(roles[1:], _MAP[1:], strict=True))
    return _MAP if fits and not (roles[2] == "" and roles[3] == "c") else None


def _pixels(node: fx.Node) -> Spread:
    # Row i of the pixels sees row i alone. Only images (n, c, h, w) have rows; other inputs have a batch.
    pixel, rank = Axis(1, Fraction(1), 0), len(sizes_of(node))
    roles = ("n", "c", "h", "w") if rank == 4 else ("n", *[""] * (rank - 1))
    return Spread(roles, pixel, pixel).with_roles(roles)
