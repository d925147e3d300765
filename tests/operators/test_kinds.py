"""Kinds: the class of a node, by which of its two operands change with the pixels and which are held fixed."""

import pytest
import torch

from backlight.operators import kinds
from backlight.operators.operator import OperatorClass
from replicas.nodes import Given, call, placeholders

LINEAR, GATE = OperatorClass.LINEAR, OperatorClass.GATE
RECTIFIER, UNKNOWN = OperatorClass.RECTIFIER, OperatorClass.UNKNOWN
CASES = [  # which operands change with the pixels, which are held, and the kinds in the order below
    ("a", "", [LINEAR, RECTIFIER, GATE, GATE, LINEAR]),
    ("b", "", [UNKNOWN, UNKNOWN, UNKNOWN, GATE, LINEAR]),
    ("ab", "", [UNKNOWN, UNKNOWN, UNKNOWN, GATE, LINEAR]),
    ("ab", "b", [UNKNOWN, UNKNOWN, UNKNOWN, GATE, GATE]),
    ("ab", "ab", [UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN]),
    ("a", "a", [LINEAR, RECTIFIER, UNKNOWN, UNKNOWN, UNKNOWN]),
    ("", "", [UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, LINEAR]),
]
FUNCTIONS = [
    kinds.linear_in_first,
    kinds.rectifier_of_first,
    kinds.gate_of_first,
    kinds.gate,
    kinds.gate_if_held,
]


def product_of(dependent, held=""):
    nodes = dict(zip("ab", placeholders((2, 3), (2, 3)), strict=True))
    paths = Given([nodes[n] for n in dependent], [nodes[n] for n in held])
    return call(torch.ops.aten.mul.Tensor, nodes["a"], nodes["b"]), paths, nodes


@pytest.mark.parametrize(("dependent", "held", "expected"), CASES)
def test_the_class_follows_from_what_depends_on_the_pixels(dependent, held, expected):
    node, paths, _ = product_of(dependent, held)
    assert [kind(node, paths) for kind in FUNCTIONS] == expected


@pytest.mark.parametrize("same_twice", [False, True])
def test_all_signals_but_the_first_are_held(same_twice):
    """A tensor divided by itself is a signal, and no factor."""
    _, paths, nodes = product_of("ab")
    node = call(torch.ops.aten.div.Tensor, nodes["a"], nodes["a" if same_twice else "b"])
    assert kinds.holds_all_but_first_signal(node, paths) == (() if same_twice else (nodes["b"],))


def test_a_constant_before_the_signals_is_not_counted():
    _, paths, nodes = product_of("b")
    node = call(torch.ops.aten.div.Tensor, nodes["a"], nodes["b"])
    assert kinds.holds_all_but_first_signal(node, paths) == ()
