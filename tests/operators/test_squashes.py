"""Squashes and steps: on the path refused, passed as they are, or with their slope; as a factor held fixed."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from backlight.errors import UnsupportedOperatorError
from backlight.network import OperatorClass
from backlight.operators.reading import operator_name
from backlight.operators.ruleset import DECONVNET, RuleSet
from backlight.projection.rewrite import apply_rules
from replicas.compare import differ, same_bits
from replicas.heads import Cases, check_replica, check_values

SQUASHES = {
    "sigmoid": torch.sigmoid,
    "hardsigmoid": F.hardsigmoid,
    "tanh": torch.tanh,
    "exp": torch.exp,
    "logsigmoid": F.logsigmoid,
    "softmax": lambda x: x.softmax(1),
    "log_softmax": lambda x: x.log_softmax(1),
}
STEPS = {
    "sign": lambda x: x.sign() * x.flip(2),
    "floor": lambda x: x.floor() * x.flip(2),
    "a comparison": lambda x: (x > x.roll(1, 3)) * x.flip(2),
    "the place of the largest": lambda x: x.argmax(1, keepdim=True) * x.flip(2),
}
CASES, STEPPED = Cases(SQUASHES), Cases(STEPS)
PASSED = RuleSet("identity", squash="identity")
SLOPED = RuleSet("gradient", squash="gradient")


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    return np.exp(x) / np.exp(x).sum(1, keepdims=True)


SIXTH = float(np.float32(1 / 6))  # in single precision, as torch has it
REPLICAS = {  # the signal times the slope; of a softmax, the matrix of slopes diag(s) - s s'
    "sigmoid": lambda x, r: r * sigmoid(x) * (1 - sigmoid(x)),
    "hardsigmoid": lambda x, r: np.where(np.abs(x) < 3, r * SIXTH, 0),
    "tanh": lambda x, r: r * (1 - np.tanh(x) ** 2),
    "exp": lambda x, r: r * np.exp(x),
    "logsigmoid": lambda x, r: r * sigmoid(-x),
    "softmax": lambda x, r: softmax(x) * (r - (r * softmax(x)).sum(1, keepdims=True)),
    "log_softmax": lambda x, r: r - softmax(x) * r.sum(1, keepdims=True),
}


@pytest.mark.parametrize("name", SQUASHES)
def test_replica(name):
    check_replica(CASES, name, REPLICAS[name], SLOPED)
    check_replica(CASES, name, lambda x, r: r, PASSED)
    differ(CASES.way_down(name, SLOPED), CASES.way_down(name, PASSED))


@pytest.mark.parametrize("name", SQUASHES)
def test_a_squash_on_the_path_is_refused_unless_the_option_says_what_to_do(name):
    layer = CASES.layers[CASES.index(name)]
    with pytest.raises(
        UnsupportedOperatorError, match=r"^no deconvnet rule for \w+ at \w+; choose a layer below"
    ):
        apply_rules(CASES.net, [layer], DECONVNET)


@pytest.mark.parametrize("rules", [PASSED, SLOPED], ids=lambda rules: rules.name)
def test_values_are_the_networks_bit_for_bit(rules):
    check_values(CASES, rules)


@pytest.mark.parametrize("name", STEPS)
def test_a_step_is_a_factor_that_passes_no_signal(name):
    """Every option gives the same: between its steps it does not change with the pixels."""
    x = STEPPED.pixels
    factor = (STEPS[name](x) / x.flip(2)).numpy()
    check_replica(STEPPED, name, lambda x, r: (r * factor)[:, :, ::-1], DECONVNET)
    same_bits(STEPPED.way_down(name, RuleSet("vjp", gates="vjp")), STEPPED.way_down(name, DECONVNET))


def test_a_step_is_of_unknown_class_and_its_product_a_gate():
    net = STEPPED.net
    kinds = {operator_name(node): net.analysis.classify(node) for node in net.module.graph.nodes}
    assert kinds["mul"] is OperatorClass.GATE
    assert {kinds[name] for name in ("sign", "floor", "gt", "argmax")} == {OperatorClass.UNKNOWN}
