"""Cutting a graph: a new graph that holds only what some of its nodes need, with nodes replaced on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch import fx

from backlight.operators.reading import aten

Replace = Callable[[fx.Graph, fx.Node, tuple[Any, ...], dict[str, Any]], fx.Node | None]


def cut(
    module: fx.GraphModule,
    heads: Sequence[tuple[fx.Node, tuple[int, ...] | None]],
    replace: Replace | None = None,
) -> fx.GraphModule:
    """Return a module that computes the heads, each permuted as asked, as a tuple.

    Args:
        module: The captured network; its weights are shared, not copied.
        heads: Pairs of a node and the order of its dimensions in the output (None: as they are).
        replace: Called for every operator with the new graph, the old node, and its arguments in the new
            graph; gives the node to use instead, or None for a plain copy.
    """
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    needed = ancestors(node for node, _ in heads)
    for node in module.graph.nodes:
        # The pixels stay even where nothing reads them: the module takes them in any case.
        if node not in needed and node.op != "placeholder":
            continue
        replacement = None
        if replace is not None and node.op == "call_function":
            args = fx.map_arg(node.args, lambda n: copies[n])
            kwargs = fx.map_arg(node.kwargs, lambda n: copies[n])
            replacement = replace(graph, node, args, kwargs)
            # What a rule has put in stands for the old node, so it is known by its shape, spread and module too.
            if replacement is not None and not replacement.meta:
                replacement.meta = dict(node.meta)
        copies[node] = replacement or graph.node_copy(node, lambda n: copies[n])
    outputs = []
    for node, order in heads:
        value = copies[node]
        # (n, h, w, c) -> (n, c, h, w) by the order (0, 3, 1, 2)
        if order is not None and order != tuple(range(len(order))):
            value = graph.call_function(aten.permute.default, (value, list(order)))
        outputs.append(value)
    graph.output(tuple(outputs))
    return fx.GraphModule(module, graph).eval()


def ancestors(heads: Iterable[fx.Node]) -> set[fx.Node]:
    """Return the heads and every node that they need."""
    seen: set[fx.Node] = set()
    todo = list(heads)
    while todo:
        node = todo.pop()
        if node not in seen:
            seen.add(node)
            todo.extend(node.all_input_nodes)
    return seen
