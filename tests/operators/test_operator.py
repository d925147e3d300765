"""An operator's record, and the graph that a rule builds with it."""

import pytest
import torch
from torch import fx

from backlight.operators.operator import (
    Example,
    Operator,
    OperatorClass,
    Rewriting,
    examples_of,
    holds_nothing,
    named,
)
from backlight.operators.ruleset import DECONVNET, GRADIENT, GUIDED
from replicas.nodes import Given, call, placeholders

aten = torch.ops.aten
LEFT, RIGHT = torch.tensor([2.0, -3.0]).double(), torch.tensor([5.0, 7.0]).double()


def rewriting(target=aten.mul.Tensor, held=(1,), rules=DECONVNET, kind=OperatorClass.GATE):
    """Return a product of two operands of a captured graph, of which some are held, in a new graph."""
    old, new = placeholders((2,), (2,)), placeholders((2,), (2,))
    node = call(target, *old)
    paths = Given(old, [old[i] for i in held], kind)
    return Rewriting(new[0].graph, node, tuple(new), {}, rules, paths), new


def run(at, out):
    """Return what the new graph gives for the two operands, and the signals of ones that they get."""
    at.graph.output(out)
    inputs = [value.clone().requires_grad_() for value in (LEFT, RIGHT)]
    value = fx.GraphModule({}, at.graph)(*inputs)
    if not value.requires_grad:
        return value, [None, None]
    grads = torch.autograd.grad(value.sum(), inputs, allow_unused=True)
    return value.detach(), list(grads)


@pytest.mark.parametrize("held", [(), (0,), (1,), (0, 1)])
def test_the_factors_are_those_of_the_new_graph(held):
    at, new = rewriting(held=held)
    assert at.factors() == {new[i] for i in held}


def test_factors_among_keyword_arguments_are_found():
    old, new = placeholders((2,), (2,)), placeholders((2,), (2,))
    node = call(aten.add.Tensor, old[0], other=old[1])
    paths = Given(old, [old[1]], OperatorClass.GATE)
    at = Rewriting(new[0].graph, node, (new[0],), {"other": new[1]}, DECONVNET, paths)
    assert at.factors() == {new[1]}


def test_a_frozen_operand_has_its_value_and_passes_no_signal():
    at, (left, right) = rewriting()
    value, grads = run(at, at.call(aten.mul.Tensor, left, at.frozen(right)))
    assert torch.equal(value, LEFT * RIGHT)
    assert torch.equal(grads[0], RIGHT)
    assert grads[1] is None


def test_the_value_is_the_operators_and_passes_no_signal_to_its_first_operand():
    at, _ = rewriting()
    value, grads = run(at, at.value())
    assert torch.equal(value, LEFT * RIGHT)
    assert grads[0] is None
    assert torch.equal(grads[1], LEFT)


@pytest.mark.parametrize(
    ("kind", "rules", "expected"),
    [
        (OperatorClass.GATE, DECONVNET, True),
        (OperatorClass.GATE, GUIDED, True),
        (OperatorClass.GATE, GRADIENT, False),  # gates=vjp
        (OperatorClass.LINEAR, DECONVNET, False),
    ],
)
def test_only_a_gate_holds_factors_and_only_where_the_rules_do(kind, rules, expected):
    at, _ = rewriting(rules=rules, kind=kind)
    assert at.kind is kind
    assert at.holds_factors is expected


def test_a_kind_is_a_class_or_follows_from_the_node():
    at, _ = rewriting()
    seen = []

    def kind(node, paths):
        seen.append((node, paths))
        return OperatorClass.SELECTOR

    assert Operator(("mul",), kind=OperatorClass.LINEAR).classify(at.node, at.paths) is OperatorClass.LINEAR
    assert Operator(("mul",), kind=kind).classify(at.node, at.paths) is OperatorClass.SELECTOR
    assert seen == [(at.node, at.paths)]


def test_an_entry_that_says_nothing_has_the_cautious_answers():
    """*Convention*: unknown class, the whole image, no rule, whole maps, never on crops; nothing is held."""
    at, _ = rewriting()
    entry = Operator(("mul",))
    assert entry.classify(at.node, at.paths) is OperatorClass.UNKNOWN
    assert (entry.field, entry.rule, entry.is_local) == (None, None, None)
    assert entry.adjoint.label == "derivative on whole maps"
    assert entry.reads(at.node) == list(at.node.args)
    assert entry.holds(at.node, at.paths) == holds_nothing(at.node, at.paths) == ()
    assert entry.option(at.node) == "gates"


def test_examples_and_names_in_short():
    own = Example(torch.relu, (4, 2, 2), ((4, 1, 1),))
    found = examples_of(own, torch.sigmoid)
    assert found == (own, Example(torch.sigmoid, (3, 12, 12), ()))
    assert named(" add\n sub ") == ("add", "sub")
