"""Which layers a layer is made from."""

from __future__ import annotations

from collections.abc import Mapping

from torch import fx

from backlight.network import Layer, Network


def directly_below(net: Network, layer: Layer, known: Mapping[fx.Node, Layer]) -> list[Layer]:
    """Return the known layers that a layer is made from, with no other known one between.

    Args:
        net: The captured network.
        layer: The layer.
        known: Layers by their nodes in the network's graph.
    """
    found, seen, todo = [], set[fx.Node](), list(net.node(layer).all_input_nodes)
    while todo:
        node = todo.pop()
        if node in seen:
            continue
        seen.add(node)
        if node in known:
            found.append(known[node])
        else:
            todo.extend(node.all_input_nodes)
    return found
