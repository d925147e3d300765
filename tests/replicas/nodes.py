"""Nodes made by hand, and what is known of the graph around them, for tests of what reads a single node."""

import torch
from torch import fx

from backlight.operators.operator import Paths
from backlight.operators.reading import operands


def placeholders(*shapes, graph=None):
    """Return nodes that hold tensors of these shapes; the first one stands for the pixels."""
    graph = graph or fx.Graph()
    nodes = [graph.placeholder(f"x{i}") for i in range(len(shapes))]
    for node, shape in zip(nodes, shapes, strict=True):
        node.meta["val"] = torch.empty(shape, dtype=torch.float64, device="meta")
    return nodes


def call(target, *args, **kwargs):
    """Return a node that calls an operator on nodes and constants, and its recorded value."""
    graph = next(operands([args, kwargs])).graph
    node = graph.call_function(target, args, kwargs)
    node.meta["val"] = target(*fx.map_arg(args, _value), **fx.map_arg(kwargs, _value))
    return node


def _value(node):
    return node.meta["val"]


class Given(Paths):
    """A graph of which it is simply said what depends on the pixels and what is held fixed.

    Args:
        dependent: The nodes that change with the pixels.
        held: Those that every node holds fixed.
        kind: The class of every node.
    """

    def __init__(self, dependent, held=(), kind=None):
        self.dependent, self.held, self.kind = set(dependent), tuple(held), kind

    def signals(self, node):
        return [n for n in operands(node.args) if n in self.dependent]

    def first_only(self, node):
        return self.signals(node) == [node.args[0]]

    def signal_inputs(self, node):
        return tuple(n for n in self.signals(node) if n not in self.held)

    def held_fixed(self, node):
        return self.held

    def classify(self, node):
        return self.kind

    def comes_from(self, node, made, through):
        raise NotImplementedError

    def ancestors(self, node):
        raise NotImplementedError
