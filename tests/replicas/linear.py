"""Linear operators are projected back by their exact adjoint, <Ax, y> = <x, A'y>, offsets dropped."""

import torch

from backlight.operators.ruleset import RuleSet
from replicas.compare import inner
from replicas.heads import constant

RULES = {
    "deconvnet": RuleSet("deconvnet", average_pool="transpose"),
    "guided": RuleSet("guided", rectifier="guided", average_pool="transpose", unpool="assign-largest"),
}


def other(x):
    """Return a second signal for what joins two."""
    return x.flip(1) * 0.5


def check_adjoint(cases, name, rules):
    """Raise unless <Ax, y> = <x, A'y>, for other pixels x than those of the pass: it must not depend on them."""
    matrix = cases.net.features([cases.layers[cases.index(name)]])
    x, y = constant(2, *cases.shape, seed=8), cases.seed
    below = cases.way_down(name, rules)
    left, right = inner(matrix(x)[0] - matrix(torch.zeros_like(x))[0], y), inner(x, below)
    assert abs(left) > 1e-3
    assert abs(left - right) < 1e-11 * abs(left), f"<Ax, y> = {left}, <x, A'y> = {right}"


def check_classes(cases):
    """Raise unless every operator on the way is of the linear class."""
    heads = [cases.net.node(f"heads.{i}") for i in range(len(cases.functions))]
    kinds = {str(cases.net.analysis.classify(node)) for node in cases.net.analysis.path(heads)}
    assert kinds == {"linear"}
