"""Kinds: how the class of a node follows from its operator and from which of its operands change with the pixels."""

from __future__ import annotations

from torch import fx

from backlight.operators.operator import OperatorClass, Paths


def linear_in_first(node: fx.Node, paths: Paths) -> OperatorClass:
    """Linear in the first operand.

    Unknown, if any other operand changes with the pixels.
    """
    return OperatorClass.LINEAR if paths.first_only(node) else OperatorClass.UNKNOWN


def rectifier_of_first(node: fx.Node, paths: Paths) -> OperatorClass:
    """A rectifier of the first operand.

    Unknown, if any other operand changes with the pixels.
    """
    return OperatorClass.RECTIFIER if paths.first_only(node) else OperatorClass.UNKNOWN


def gate_of_first(node: fx.Node, paths: Paths) -> OperatorClass:
    """A gate that makes its own factor from the first operand.

    Unknown, if any other operand changes with the pixels.
    """
    return gate(node, paths) if paths.first_only(node) else OperatorClass.UNKNOWN


def gate(node: fx.Node, paths: Paths) -> OperatorClass:
    """A gate, if an operand is left to pass the signal to; else unknown."""
    return OperatorClass.GATE if paths.signal_inputs(node) else OperatorClass.UNKNOWN


def gate_if_held(node: fx.Node, paths: Paths) -> OperatorClass:
    """A gate where it holds operands fixed; else linear."""
    return gate(node, paths) if paths.held_fixed(node) else OperatorClass.LINEAR


def holds_all_but_first_signal(node: fx.Node, paths: Paths) -> tuple[fx.Node, ...]:
    """Return the signals after the first: a divisor, a norm's weights."""
    signals = paths.signals(node)
    return tuple(n for n in signals[1:] if n is not signals[0])
