"""Applying a rule set: a graph whose gradient is the projection."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import fx

from backlight.errors import UnsupportedOperatorError
from backlight.network.cut import cut
from backlight.network.layers import Layer
from backlight.network.network import Network
from backlight.operators.carry import carry, written_over
from backlight.operators.gates import is_local_response_norm, replace_gate
from backlight.operators.paths import (
    AVERAGE_POOLS,
    CLAMPS,
    SQUASHES,
    OperatorClass,
    all_operands,
    aten,
    carries_signal,
    operator_name,
    packet,
)
from backlight.operators.pooling import replace_average, replace_selector
from backlight.operators.rectifiers import replace_rectifier
from backlight.operators.ruleset import RuleSet


def apply_rules(net: Network, layers: Iterable[Layer], rules: RuleSet) -> fx.GraphModule:
    """Return a module of the layers' activations whose gradient, for a seed at a layer, is the projection.

    Args:
        net: The captured network; it is not changed.
        layers: The layers to compute, in the order of the outputs; each output is (n, c, h, w) or (n, c).
        rules: How each class of operator passes the signal down.

    Raises:
        UnsupportedOperatorError: Operators on a path to the pixels that no rule covers; names all of them.
    """
    heads = [(net.node(layer), layer.order) for layer in layers]
    path = set(net.analysis.path([node for node, _ in heads]))
    if not rules.is_plain_gradient:
        _refuse_unknown(net, path, rules)
        _refuse_dead_ends(net, [node for node, _ in heads], path)
    return cut(net.module, heads, _Rewriter(net, path, rules))


_RULED_IN_BRANCHES = (OperatorClass.RECTIFIER, OperatorClass.SELECTOR)


class _Rewriter:
    """Gives each operator on the path its rule, and cuts the signal off everywhere else.

    *Convention*: with `gates=vjp` the signal goes through the factors of gates too. In their branches rectifiers and
    selectors follow their rules, and all else has its derivative: an average that filled, or a squash that passed the
    signal on as it is, would give the factor another weight than it has. A bound that only keeps a divisor away from
    zero, max(x, 1e-6), is no rectifier there.
    """

    def __init__(self, net: Network, path: set[fx.Node], rules: RuleSet) -> None:
        self.net, self.path, self.rules = net, path, rules
        gates = (n for n in path if net.analysis.classify(n) is OperatorClass.GATE)
        through = [n for n in gates if rules.gates == "vjp" and not is_local_response_norm(n)]
        self.branches = net.analysis.branches(through) - path

    def __call__(
        self, graph: fx.Graph, node: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> fx.Node | None:
        rules = self.rules
        if packet(node) is aten.copy:  # of a write in place; it has no derivative of its own
            return graph.call_function(written_over, args[:2])
        if packet(node) is aten.detach:  # the author's own stop of the gradient is no stop of the signal
            return args[0]  # type: ignore[no-any-return]
        if rules.is_plain_gradient or not (node in self.path or node in self.branches):
            return None
        kind = self.net.analysis.classify(node)
        if node in self.branches and (kind not in _RULED_IN_BRANCHES or _guards(node)):
            return None
        if kind is OperatorClass.RECTIFIER:
            if node.args[0] not in self.net.analysis.dependent:  # max(c, x)
                args = args[::-1]
            return replace_rectifier(graph, node, args, kwargs, rules)
        if kind is OperatorClass.SELECTOR:
            return replace_selector(graph, node, args, kwargs, rules)
        if kind is OperatorClass.GATE:
            return replace_gate(graph, node, args, kwargs, rules, self._factors(node, args, kwargs))
        if packet(node) in AVERAGE_POOLS and rules.average_pool == "fill":
            return replace_average(graph, node, args, kwargs, self._spatial_dims(node))
        if packet(node) in SQUASHES and rules.squash == "identity":
            frozen = graph.call_function(torch.detach, (args[0],))
            squash: Any = node.target
            value = graph.call_function(squash, (frozen, *args[1:]), kwargs)
            return graph.call_function(carry, (args[0], value))
        return None

    def _factors(self, node: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> frozenset[fx.Node]:
        """Return the new graph's nodes that are factors of this gate and held fixed."""
        held = self.net.analysis.held_fixed(node)
        factors: set[fx.Node] = set()
        for old, new in zip((node.args, node.kwargs), (args, kwargs), strict=True):
            pairs = zip(_nodes(old), _nodes(new), strict=True)
            factors |= {n for o, n in pairs if o in held}
        return frozenset(factors)

    def _spatial_dims(self, node: fx.Node) -> tuple[int, ...]:
        spread = self.net.spreads.get(node.args[0])  # type: ignore[arg-type]
        return tuple(i for i, role in enumerate(spread.roles) if role in "hw" and role) if spread else ()


def _guards(node: fx.Node) -> bool:
    """Return whether an operator is max(x, c) with another constant than zero."""
    return packet(node) in CLAMPS and node.args[1] not in (0, 0.0)


def _nodes(value: Any) -> list[fx.Node]:
    found: list[fx.Node] = []

    def note(node: fx.Node) -> fx.Node:
        found.append(node)
        return node

    fx.map_arg(value, note)
    return found


def _refuse_unknown(net: Network, path: set[fx.Node], rules: RuleSet) -> None:
    unknown: dict[str, list[str]] = {}
    for node in net.module.graph.nodes:
        if node in path and net.analysis.classify(node) is OperatorClass.UNKNOWN:
            if packet(node) in SQUASHES and rules.squash != "error":
                continue
            unknown.setdefault(operator_name(node), []).append(net.where(node))
    if not unknown:
        return
    listed = "; ".join(f"{name} at {', '.join(places)}" for name, places in unknown.items())
    if all(getattr(aten, name, None) in SQUASHES for name in unknown):
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
    alive = {n for n in path if n.op == "placeholder"}
    stops = []
    for node in net.module.graph.nodes:
        if node in path and any(n in alive for n in net.analysis.signal_inputs(node)):
            alive.add(node)
        elif node in path and node not in alive:
            stops += [n for n in all_operands(node) if n in net.analysis.dependent and not carries_signal(n)]
    for head in heads:
        if head not in alive and head in net.analysis.dependent:
            ends = ", ".join(dict.fromkeys(f"{operator_name(n)} at {net.where(n)}" for n in stops))
            raise UnsupportedOperatorError(
                f"no signal can reach the pixels from {net.where(head)}: all of it depends on them by steps only "
                f"({ends}); choose a layer below"
            )
