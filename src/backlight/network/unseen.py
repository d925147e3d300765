"""A check of the choice of layers: convolutions on the way to the output that no layer would show."""

from __future__ import annotations

from collections.abc import Collection

from torch import fx

from backlight.network.network import Network
from backlight.operators.reading import shape_of
from backlight.operators.table import is_convolution


def unseen_convolutions(net: Network) -> tuple[str, ...]:
    """Return the two-dimensional convolutions that no default layer shows and `coverage` does not report either.

    A convolution is shown if it can be named itself, and if it leads to a default layer before the next convolution:
    its own output, its normalisation or a rectifier.

    Example:
        >>> import torch, backlight
        >>> unseen_convolutions(backlight.capture(torch.nn.Conv2d(3, 8, 3), (3, 8, 8)))
        ()
    """
    path = net.analysis.path(n for n in net.module.graph.nodes if n.op == "output")
    default = {net.node(layer) for layer in net.default_layers}
    named = {net.node(layer) for layer in net.layers}
    left_out = {own.name for own in net.coverage().left_out}
    convolutions = [n for n in path if is_convolution(n) and len(shape_of(n) or ()) == 4]
    unseen = [n for n in convolutions if n not in named or not _leads_to(n, default, set(path))]
    return tuple(name for node in unseen if (name := net.where(node)) not in left_out)


def _leads_to(node: fx.Node, goals: Collection[fx.Node], path: set[fx.Node]) -> bool:
    """Return whether a goal can be reached from a node on the path without passing another convolution."""
    # A search upwards through the users of each node, which does not continue behind another convolution.
    todo, seen = [node], {node}
    while todo:
        here = todo.pop()
        if here in goals:
            return True
        if here is node or not is_convolution(here):
            new = {user for user in here.users if user in path} - seen
            seen |= new
            todo.extend(new)
    return False
