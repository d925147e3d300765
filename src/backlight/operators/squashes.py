"""Squashes and steps: what turns a signal into a factor, a probability or a mask.

A squash on the path itself is refused, unless the option `squash` says what to do; as a gate's factor it is recorded
and held fixed, like everything that stands in the gate's branch. A step passes no signal: between its steps it does not
change with the pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from backlight.operators import local
from backlight.operators.adjoint import IN_PLACE, ON_WHOLE_MAPS
from backlight.operators.carry import carry
from backlight.operators.fields import cell_by_cell, mixing, reduction, unchanged
from backlight.operators.operator import Field, Operator, Origin, Rewriting, examples_of, named
from backlight.operators.reading import aten


def _pass_as_it_is(at: Rewriting) -> fx.Node | None:
    """Pass the signal as it is (`squash=identity`)."""
    return at.call(carry, at.args[0], at.value()) if at.rules.squash == "identity" else None


def _squash(
    names: str, *functions: Callable[[Tensor], Tensor], field: Field = cell_by_cell, keeps_cells: bool = False
) -> Operator:
    return Operator(
        named(names),
        origin=Origin.FACTORS,
        field=field,
        rule=_pass_as_it_is,
        squashes=True,
        adjoint=IN_PLACE if keeps_cells else ON_WHOLE_MAPS,
        is_local=local.cell_by_cell if keeps_cells else None,
        examples=examples_of(*functions),
    )


def _step(names: str, field: Field | None = cell_by_cell) -> Operator:
    return Operator(named(names), origin=Origin.FACTORS, field=field)


OPERATORS = (
    _squash("sigmoid hardsigmoid tanh", torch.sigmoid, F.hardsigmoid, torch.tanh, keeps_cells=True),
    _squash("exp", torch.exp),
    _squash("log_sigmoid", F.logsigmoid, field=unchanged),
    _squash(
        "softmax _softmax log_softmax",
        lambda x: aten.softmax.int(x, 1),
        lambda x: aten._softmax.default(x, 1, False),
        lambda x: aten.log_softmax.int(x, 1),
        field=mixing,
    ),
    Operator(named("_log_softmax cumprod"), field=mixing),
    Operator(named("reciprocal rsqrt"), origin=Origin.FACTORS, field=cell_by_cell),
    _step("sign sgn heaviside gt ge lt le eq ne logical_not logical_and logical_or bitwise_not bitwise_and"),
    _step("floor ceil round trunc isfinite isnan"),
    _step("argmax argmin", field=reduction),
    _step("one_hot", field=None),
    Operator(named("prod var std logsumexp norm linalg_vector_norm"), field=reduction),
)
