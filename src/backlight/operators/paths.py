"""Paths: which nodes of a graph carry a signal from the pixels, and what each of them does to it.

The class of a node depends on its surroundings and not only on its operator: a product with a constant is linear, a
product of two signals is a gate.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from functools import cache

from torch import fx

from backlight.operators.operator import OperatorClass, Origin, Paths
from backlight.operators.reading import carries_signal, gives_tensors
from backlight.operators.table import operands_read, operator_of


class PathAnalysis(Paths):
    """Which nodes of a graph carry a signal from the pixels, and what each of them does to it.

    Args:
        graph: A functional ATen graph with one placeholder that holds the pixels.

    Attributes:
        dependent: The nodes whose values change with the pixels.
    """

    def __init__(self, graph: fx.Graph) -> None:
        self.graph = graph
        self.dependent: set[fx.Node] = set()
        self._comes_from = cache(self._find_origin)
        self._ancestors = cache(self._find_ancestors)
        # In the order of the graph, so that operands are decided before their readers.
        for node in graph.nodes:
            if node.op == "placeholder" or (
                any(n in self.dependent for n in operands_read(node)) and gives_tensors(node)
            ):
                self.dependent.add(node)

    def classify(self, node: fx.Node) -> OperatorClass:
        """Return the class of a node."""
        if node not in self.dependent:
            return OperatorClass.CONSTANT
        # none of these computes anything: the pixels, the outputs, one of several tensors
        if node.op == "placeholder" or node.op == "output" or node.target is operator.getitem:
            return OperatorClass.LINEAR
        return operator_of(node).classify(node, self)

    def signals(self, node: fx.Node) -> list[fx.Node]:
        """Return the operands that a node reads and that change with the pixels, in order, with repeats."""
        return [n for n in operands_read(node) if n in self.dependent]

    def first_only(self, node: fx.Node) -> bool:
        """Return whether the first operand alone changes with the pixels."""
        signals = self.signals(node)
        return len(signals) == 1 and signals[0] is operands_read(node)[0]

    def signal_inputs(self, node: fx.Node) -> tuple[fx.Node, ...]:
        """Return the inputs through which a signal is passed back; a gate's factors are not among them."""
        held = self.held_fixed(node)
        # addcmul(x, g, x) = x + g * x: held fixed as a factor, x still passes the signal as what is added
        added = node.args[0] if operator_of(node).adds_first else None
        passed = [n for n in self.signals(node) if carries_signal(n)]
        return tuple(dict.fromkeys(n for n in passed if n not in held or n is added))

    def origins(self, node: fx.Node) -> tuple[fx.Node, ...]:
        """Return the inputs that a node's values come from: those that pass a signal, else the masks it is made of."""
        return self.signal_inputs(node) or tuple(self.signals(node))

    def held_fixed(self, node: fx.Node) -> tuple[fx.Node, ...]:
        """Return the operands whose values are recorded and held fixed: a gate's factors, a choice's condition."""
        return operator_of(node).holds(node, self)

    def path(self, heads: Iterable[fx.Node], past_steps: bool = False) -> list[fx.Node]:
        """Return the nodes that a signal put in at `heads` passes, in the order of the graph.

        Args:
            heads: Where the signal is put in.
            past_steps: Whether to go on where all that a node carries comes from comparisons, which pass no signal.
        """
        seen = self._reached(heads, self.origins if past_steps else self.signal_inputs)
        return [n for n in self.graph.nodes if n in seen]

    def branches(self, gates: Iterable[fx.Node]) -> set[fx.Node]:
        """Return the nodes that a signal put in at gates passes only if it goes through their factors too."""
        # Inside a branch no gate holds anything fixed: the signal takes every operand that can carry one.
        factors = [n for gate in gates for n in self.held_fixed(gate) if carries_signal(n)]
        return self._reached(factors, lambda node: [n for n in self.signals(node) if carries_signal(n)])

    def comes_from(self, node: fx.Node, made: Origin, through: frozenset[Origin]) -> bool:
        """Return whether all that a node carries was made so, seen through operators whose outputs are `through`."""
        return self._comes_from(node, made, through)

    def ancestors(self, node: fx.Node) -> frozenset[fx.Node]:
        """Return all nodes that a node is made from."""
        return self._ancestors(node)

    def _reached(
        self, heads: Iterable[fx.Node], below: Callable[[fx.Node], Iterable[fx.Node]]
    ) -> set[fx.Node]:
        seen: set[fx.Node] = set()
        todo = [n for n in heads if n in self.dependent]
        while todo:
            node = todo.pop()
            if node not in seen:
                seen.add(node)
                todo.extend(below(node))
        return seen

    def _find_origin(self, node: fx.Node, made: Origin, through: frozenset[Origin]) -> bool:
        origin = operator_of(node).origin
        if origin is made:
            return True
        if not carries_signal(node):  # a mask, whatever made it, scales and is no rectified signal
            return made is Origin.FACTORS
        # An operator that `through` lets see through is what all of its origins are; any other hides them.
        below = self.origins(node) if origin in through else ()
        return bool(below) and all(self._comes_from(n, made, through) for n in below)

    def _find_ancestors(self, node: fx.Node) -> frozenset[fx.Node]:
        seen: set[fx.Node] = set()
        todo = [node]
        while todo:
            for below in todo.pop().all_input_nodes:
                if below not in seen:
                    seen.add(below)
                    todo.append(below)
        return frozenset(seen)
