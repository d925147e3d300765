"""Fields that several families share: which pixels a node's values see, from what its operands see."""

from fractions import Fraction

import pytest
import torch

from backlight.geometry import Axis
from backlight.operators import fields
from backlight.operators.operator import Seen
from backlight.operators.spread import Spread
from replicas.nodes import call, placeholders

aten = torch.ops.aten
SHAPE, NCHW = (2, 4, 6, 7), ("n", "c", "h", "w")
ROWS, COLS = Axis(3, Fraction(2), -1), Axis(5, Fraction(2), -2)
MAPS = Spread(NCHW, ROWS, COLS)
WHOLE = Spread(NCHW, None, None)


def asked(node, signals, factors=None):
    """Return what is known of a node whose operands have these spreads."""
    return Seen(node, signals, signals | (factors or {}))


@pytest.mark.parametrize(
    ("target", "args", "dims"),
    [
        (aten.mean.dim, ([2, -1],), [2, 3]),
        (aten.mean.dim, ([],), [0, 1, 2, 3]),
        (aten.cumsum.default, (-3,), [1]),
        (aten.flip.default, ([0],), [0]),
    ],
)
def test_dimensions_are_named_by_dim_or_dims_and_none_is_all(target, args, dims):
    (x,) = placeholders(SHAPE)
    assert fields.named_dims(call(target, x, *args), 4) == dims


@pytest.mark.parametrize(
    ("dims", "keepdim", "expected"),
    [
        ([1], True, (NCHW, ROWS, COLS, False)),
        ([1], False, (("n", "h", "w"), ROWS, COLS, False)),
        ([3], False, (("n", "c", "h"), ROWS, None, False)),
        ([2, 3], True, (NCHW, None, None, True)),
        ([2, 3], False, (("n", "c"), None, None, True)),
    ],
)
def test_what_is_reduced_sees_the_whole_image_along_its_dimensions(dims, keepdim, expected):
    (x,) = placeholders(SHAPE)
    found = fields.reduction(asked(call(aten.mean.dim, x, dims, keepdim), {x: MAPS}))
    assert (found.roles, found.rows, found.cols, found.sees_all) == expected
    assert len(found.roles) == len(expected[0])


def test_what_is_put_in_another_order_keeps_its_dimensions():
    (x,) = placeholders(SHAPE)
    found = fields.mixing(asked(call(aten.flip.default, x, [2]), {x: MAPS}))
    assert found == Spread(NCHW, None, COLS)


def test_cells_see_what_either_operand_sees_there():
    x, y = placeholders(SHAPE, SHAPE)
    other = Spread(NCHW, Axis(3, Fraction(2), 3), COLS)
    found = fields.cell_by_cell(asked(call(aten.add.Tensor, x, y), {x: MAPS, y: other}))
    assert found == Spread(NCHW, Axis(7, Fraction(2), -1), COLS)


@pytest.mark.parametrize(
    ("shape", "factor", "ignored"),
    [
        ((4, 1, 1), Spread(("c", "", ""), None, None), True),  # made of the whole image
        (SHAPE, MAPS, False),
        (SHAPE, Spread(NCHW, Axis(1, Fraction(2), 0), COLS), False),  # inside of what the signal sees
        (SHAPE, Spread(NCHW, Axis(9, Fraction(2), -4), COLS), True),
    ],
)
def test_a_factor_that_sees_more_than_the_signal_is_noted_and_nothing_else(shape, factor, ignored):
    """*Differs*: the field of a gated product is that of its signal."""
    x, gate = placeholders(SHAPE, shape)
    node = call(aten.mul.Tensor, x, gate)
    found = fields.cell_by_cell(asked(node, {x: MAPS}, {gate: factor}))
    assert (found.roles, found.rows, found.cols) == (NCHW, ROWS, COLS)
    assert found.gates_ignored == ignored


def test_a_signal_that_sees_the_whole_image_has_no_factor_that_sees_more():
    assert not fields.gated([WHOLE], [MAPS, WHOLE]).gates_ignored
    assert fields.gated([Spread(NCHW, None, COLS)], [WHOLE]).gates_ignored


def test_of_several_signals_a_rule_for_one_tells_nothing():
    """*Convention*: anything may be seen; where weights are made from the image too, that is noted."""
    x, y = placeholders(SHAPE, SHAPE)
    node = call(aten.add.Tensor, x, y)
    assert fields.unchanged(asked(node, {x: MAPS})) == MAPS
    both = fields.unchanged(asked(node, {x: MAPS, y: MAPS}))
    assert (both.rows, both.cols) == (None, None)
    assert fields.unchanged(asked(node, {x: MAPS}, {y: MAPS})).gates_ignored


def test_a_field_has_the_docstring_of_its_rule():
    """The page on the operators is made of it."""
    assert fields.unchanged.__doc__ == "What the operand sees in the same place."


def test_what_cannot_be_told_is_the_whole_image_with_the_batch_first():
    (x,) = placeholders(SHAPE)
    kept, turned = call(aten.relu.default, x), call(aten.permute.default, x, [1, 0, 2, 3])
    ignored = Spread(NCHW, ROWS, COLS, gates_ignored=True)
    assert fields.cannot_be_told(kept, [ignored]) == Spread(("n", "", "", ""), None, None, True)
    assert fields.cannot_be_told(turned, [MAPS]) == Spread(("", "", "", ""), None, None)
    parts = call(aten.split.Tensor, x, 3, 1)
    assert fields.cannot_be_told(parts, [MAPS]) == (Spread(("n", "", "", ""), None, None),) * 2


def test_an_operator_without_a_field_keeps_its_dimensions_if_it_keeps_the_shape():
    (x,) = placeholders(SHAPE)
    assert fields.whole_image(asked(call(aten.relu.default, x), {x: MAPS})) == WHOLE
    smaller = call(aten.slice.Tensor, x, 1, 0, 2)
    assert fields.whole_image(asked(smaller, {x: MAPS})) == Spread(("n", "", "", ""), None, None)
