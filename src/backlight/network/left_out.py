"""What no atlas shows by default although it lies on the way to the output, and why; nothing is left out silently."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import torch
from torch import fx

from backlight.network.coverage import LeftOut
from backlight.network.layers import is_feature_map
from backlight.operators.operator import OperatorClass
from backlight.operators.paths import PathAnalysis
from backlight.operators.reading import BATCH, as_sizes, operator_name
from backlight.operators.spread import Spread
from backlight.operators.table import is_attention, is_convolution, operator_of


def find_left_out(
    path: Collection[fx.Node],
    analysis: PathAnalysis,
    spreads: Mapping[fx.Node, Spread],
    where: Callable[[fx.Node], str],
) -> tuple[LeftOut, ...]:
    """Return the convolutions, rectifiers and maps of tokens that no default layer shows, in the order of the graph.

    Args:
        path: The nodes on the way of the signal to the output.
        analysis: The analysis of the graph.
        spreads: What is known of the nodes' dimensions.
        where: Gives the name of a node, or where it stands.

    *Convention*: the vectors of fully connected layers (n, c) have never been feature maps and are not listed.
    """
    found = []
    for node in analysis.graph.nodes:
        if node not in path or not _makes_features(node, analysis) or is_feature_map(node, spreads.get(node)):
            continue
        sizes = as_sizes(node.meta.get("val"))
        if len(sizes) > 2 and not (_transforms_tokens(node) and _is_map(spreads.get(node))):
            found.append(LeftOut(where(node), operator_name(node), printed(sizes), kind_of(node, spreads)))
    return tuple(found)


def _makes_features(node: fx.Node, analysis: PathAnalysis) -> bool:
    return (
        is_convolution(node) or _transforms_tokens(node) or analysis.classify(node) is OperatorClass.RECTIFIER
    )


def _transforms_tokens(node: fx.Node) -> bool:
    """Return whether a node does to tokens what convolutions do to maps."""
    return is_attention(node) or operator_of(node).maps_channels


def _is_map(spread: Spread | None) -> bool:
    return spread is not None and sorted(spread.roles) == ["c", "h", "n", "w"]


def printed(sizes: tuple[int, ...]) -> tuple[int | str, ...]:
    """Return a shape as it is printed: `n` for the number of images, `16n` for as many windows of each.

    Example:
        >>> printed((BATCH, 196, 768)), printed((16 * BATCH, 49, 96))
        (('n', 196, 768), ('16n', 49, 96))
    """
    return tuple(
        size if size % BATCH or not size else f"{size // BATCH if size != BATCH else ''}n" for size in sizes
    )


def kind_of(node: fx.Node, spreads: Mapping[fx.Node, Spread]) -> str:
    """Return in a word or two what a node gives that is no layer, as it follows on `its output is`."""
    value, spread = node.meta.get("val"), spreads.get(node)
    sizes = as_sizes(value)
    if not isinstance(value, torch.Tensor):
        return "several tensors"
    if len(sizes) < 2:
        return "numbers"
    if len(sizes) == 2:
        return "vectors of channels and positions"
    if len(sizes) > 4:
        return "3-D volumes" if len(sizes) == 5 and _comes_of_volumes(node) else "a view in parts"
    roles = spread.roles if spread is not None else ()
    if _is_map(spread):
        return "single positions"
    if sizes[0] != BATCH and sizes[0] % BATCH == 0:
        return "parts of images"
    if len(sizes) == 3 and {"h", "w"} <= set(roles):
        return "positions without channels"
    return "tokens"


def _comes_of_volumes(node: fx.Node) -> bool:
    """Return whether a three-dimensional operator made a tensor, or what it was made of."""
    todo, seen = [node], set[fx.Node]()
    while todo:
        below = todo.pop()
        if below not in seen and len(as_sizes(below.meta.get("val"))) == 5:
            seen.add(below)
            todo.extend(below.all_input_nodes)
            given = below.args[1] if is_convolution(below) else None
            if isinstance(given, fx.Node) and len(as_sizes(given.meta.get("val"))) == 5:
                return True
    return False


def why_not(node: fx.Node, analysis: PathAnalysis, spreads: Mapping[fx.Node, Spread]) -> str:
    """Return why a named node is no layer: what its output is."""
    if node not in analysis.dependent:
        return "its output does not depend on the image"
    return LeftOut(
        "", operator_name(node), printed(as_sizes(node.meta.get("val"))), kind_of(node, spreads)
    ).reason
