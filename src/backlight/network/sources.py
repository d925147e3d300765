"""Sources: which of several layers feed each other directly, over whatever lies between them."""

from __future__ import annotations

from collections.abc import Mapping

from torch import fx

IMAGE = ""
"""Stands for the image among the sources of a layer."""


def direct_sources(nodes: Mapping[str, fx.Node]) -> dict[str, tuple[str, ...]]:
    """Return for each layer the layers from which its activations come without passing another of them.

    Args:
        nodes: The layers' nodes by name, in the order of the graph.

    Returns:
        By name, the sources: `IMAGE` first, where a path from the pixels meets no other layer, then names in the order
        given. A gate's factor counts as what it gates does: both are data.

    Example:
        >>> graph = fx.Graph()
        >>> image = graph.placeholder("image")
        >>> first = graph.call_function(abs, (image,))
        >>> between = graph.call_function(abs, (first,))
        >>> last = graph.call_function(max, (between, image))
        >>> direct_sources({"first": first, "last": last})
        {'first': ('',), 'last': ('', 'first')}
    """
    names = {node: name for name, node in nodes.items()}
    return {name: _sources(node, names) for name, node in nodes.items()}


def _sources(layer: fx.Node, names: Mapping[fx.Node, str]) -> tuple[str, ...]:
    seen, found, todo = set[fx.Node](), set[str](), list(layer.all_input_nodes)
    while todo:
        node = todo.pop()
        if node in seen:
            continue
        seen.add(node)
        if node in names:
            found.add(names[node])
        elif node.op == "placeholder":
            found.add(IMAGE)
        else:
            todo.extend(node.all_input_nodes)
    return tuple(name for name in (IMAGE, *names.values()) if name in found)
