"""Applying a rule set: a graph whose gradient is the projection."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, fx

from backlight.errors import UnsupportedOperatorError
from backlight.network.cut import cut
from backlight.network.layers import Layer
from backlight.network.network import Network
from backlight.operators.operator import OperatorClass, Rewriting
from backlight.operators.reading import carries_signal, operator_name
from backlight.operators.ruleset import RuleSet
from backlight.operators.table import operands_read, operator_of


def apply_rules(net: Network, layers: Iterable[Layer], rules: RuleSet) -> fx.GraphModule:
    """Return a module of the layers' activations whose gradient, for a seed at a layer, is the projection.

    Args:
        net: The captured network; it is not changed.
        layers: The layers to compute, in the order of the outputs; each output is (n, c, h, w) or (n, c).
        rules: How each class of operator passes the signal back.

    Raises:
        UnsupportedOperatorError: Operators on a path to the pixels that no rule covers; names all of them.
    """
    return rewrite(net, [(net.node(layer), layer.order) for layer in layers], rules)


def rewrite(net: Network, heads: Sequence[tuple[fx.Node, Order]], rules: RuleSet) -> fx.GraphModule:
    """Return a module of the values of any nodes whose gradient is what the rules pass back from them.

    Args:
        net: The captured network; it is not changed.
        heads: Pairs of a node and the order of its dimensions in the output (None: as they are).
        rules: How each class of operator passes the signal back.

    Raises:
        UnsupportedOperatorError: Operators on a path to the pixels that no rule covers; names all of them.
    """
    nodes = [node for node, _ in heads]
    path = set(net.analysis.path(nodes))  # factors of gates are not on it
    if not rules.is_plain_gradient:
        _refuse_unknown(net, path, rules)
        _refuse_dead_ends(net, nodes, path)
    return cut(net.module, heads, _Rewriter(net, path, rules))


Order = tuple[int, ...] | None
_RULED_IN_BRANCHES = (OperatorClass.RECTIFIER, OperatorClass.SELECTOR)


class _Rewriter:
    """Gives each operator on the path its rule, and cuts the signal off everywhere else.

    *Convention*: with `gates=vjp` the signal goes through the factors of gates too. In their branches rectifiers and
    selectors follow their rules, and all else has its derivative: an average that filled, or a squash that passed the
    signal on as it is, would give the factor another weight than it has.
    """

    def __init__(self, net: Network, path: set[fx.Node], rules: RuleSet) -> None:
        self.net, self.path, self.rules = net, path, rules
        gates = (n for n in path if net.analysis.classify(n) is OperatorClass.GATE)
        through = [n for n in gates if rules.gates == "vjp" and operator_of(n).option(n) == "gates"]
        self.branches = net.analysis.branches(through) - path
        self.masked = top_rectifiers(net, rules.masked_levels)

    def __call__(
        self, graph: fx.Graph, node: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> fx.Node | None:
        # `args` and `kwargs` are nodes of the new graph, `node` is the old one: what is asked of it is analysed there.
        in_branch = node in self.branches
        rules = replace(self.rules, rectifier="guided") if node in self.masked else self.rules
        at = Rewriting(graph, node, args, kwargs, rules, self.net.analysis, in_branch)
        entry = operator_of(node)
        if entry.stands_for is not None:  # whatever the rules: the operator itself would stop every signal
            return entry.stands_for(at)
        # None is a plain copy, with PyTorch's derivative. Off the path no signal arrives: gates have detached their
        # factors.
        if self.rules.is_plain_gradient or entry.rule is None or not (node in self.path or in_branch):
            return None
        if in_branch and at.kind not in _RULED_IN_BRANCHES:
            return None
        return entry.rule(at)


def top_rectifiers(net: Network, n_levels: int) -> set[fx.Node]:
    """Return the rectifiers of feature maps in the topmost levels of a network.

    *Convention*: the level of a rectifier is how many rectifiers of feature maps lie on the longest way from it to an
    output, itself among them. It does not depend on the layer that is projected, and the branches of a block share one.
    """
    levels: dict[fx.Node, int] = {}  # how many such rectifiers lie above a node, on the longest way
    found = set()
    for node in reversed(net.module.graph.nodes):
        above = levels.get(node, 0)
        value = node.meta.get("val")
        if (
            net.analysis.classify(node) is OperatorClass.RECTIFIER
            and isinstance(value, Tensor)
            and value.dim() == 4
        ):
            above += 1
            if above <= n_levels:
                found.add(node)
        for source in net.analysis.signal_inputs(node):
            levels[source] = max(levels.get(source, 0), above)
    return found


def _refuse_unknown(net: Network, path: set[fx.Node], rules: RuleSet) -> None:
    """Raise where an operator on the path has no rule, naming all of them and where they stand."""
    unknown = [
        node
        for node in net.module.graph.nodes
        if node in path
        and net.analysis.classify(node) is OperatorClass.UNKNOWN
        and not (operator_of(node).squashes and rules.squash != "error")
    ]
    if not unknown:
        return
    places: dict[str, list[str]] = {}
    for node in unknown:
        places.setdefault(operator_name(node), []).append(net.where(node))
    listed = "; ".join(f"{name} at {', '.join(where)}" for name, where in places.items())
    # The advice has to work: `squash=identity` helps only if nothing but squashes is in the way.
    if all(operator_of(node).squashes for node in unknown):
        passing = replace(rules, squash="identity").spelled
        python, command = f"rules=backlight.parse_rules({passing!r})", f"--rules {passing}"
    else:
        python, command = ("rules=GRADIENT, which needs no rule", "--rules gradient, which needs no rule")
    raise UnsupportedOperatorError(
        f"no {rules.name} rule for {listed}",
        python=f"choose a layer below, or {python}",
        command=f"choose a layer below, or {command}",
    )


def _refuse_dead_ends(net: Network, heads: Sequence[fx.Node], path: set[fx.Node]) -> None:
    """Raise where all of a layer's signal ends at comparisons, masks or indices: its picture would be empty."""
    # From the pixels up: a node is alive if a signal at it reaches them. What is on the path but not alive loses its
    # signal at the comparisons, masks or indices that it reads.
    alive = {n for n in path if n.op == "placeholder"}
    stops = []
    for node in net.module.graph.nodes:
        if node in path and any(n in alive for n in net.analysis.signal_inputs(node)):
            alive.add(node)
        elif node in path and node not in alive:
            stops += [n for n in operands_read(node) if n in net.analysis.dependent and not carries_signal(n)]
    for head in heads:
        if head not in alive and head in net.analysis.dependent:
            ends = ", ".join(dict.fromkeys(f"{operator_name(n)} at {net.where(n)}" for n in stops))
            raise UnsupportedOperatorError(
                f"no signal can reach the pixels from {net.where(head)}: all of it depends on them by steps only "
                f"({ends}); choose a layer below"
            )
