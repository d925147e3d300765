"""Adjoints: on windows and on whole maps a signal becomes the same, and what the operator's formula says."""

import numpy as np
import pytest
import torch

from backlight.errors import UnsupportedOperatorError
from backlight.operators.adjoint import (
    IN_PLACE,
    ON_WHOLE_MAPS,
    PASS_ON,
    Record,
    Walk,
    on_common_cells,
    seen_by,
    summed,
)
from backlight.operators.windows import Windows
from replicas.compare import same
from replicas.heads import constant
from replicas.nodes import call, placeholders

aten = torch.ops.aten
SHAPE = (2, 3, 6, 7)
IMAGE_OF = torch.tensor([0, 1, 1])  # three units of two images
AXES = ((2, np.array([0, 2, 4])), (3, np.array([1, 0, 3])))
SIGNAL = Windows(constant(3, 3, 2, 4, seed=1), AXES)


def walking(node, values, image_of=IMAGE_OF):
    """Return a walk past one node, whose operands have these values; all of two images depend on the pixels."""
    shapes = {n: tuple(value.shape) for n, value in values.items()}
    shapes[node] = tuple(node.meta["val"].shape)
    by_image = frozenset(n for n, shape in shapes.items() if shape[:1] == SHAPE[:1])
    return Walk(Record(frozenset(), shapes, dict(values)), image_of, {node: tuple(values)}, by_image)


def of_one(target, *args):
    """Return a node of one operand, that operand, its value, and a walk past it."""
    (x,) = placeholders(SHAPE)
    node, value = call(target, x, *args), constant(*SHAPE, seed=2)
    return node, x, value, walking(node, {x: value})


def whole(signal):
    return signal.whole(SHAPE).data


SLOPES = {
    "sigmoid": (aten.sigmoid.default, (), lambda x: x.sigmoid() * (1 - x.sigmoid())),
    "silu": (aten.silu.default, (), lambda x: x.sigmoid() * (1 + x * (1 - x.sigmoid()))),
    "hardtanh": (aten.hardtanh.default, (0, 1), lambda x: ((x > 0) & (x < 1)).double()),
}


@pytest.mark.parametrize("adjoint", [IN_PLACE, ON_WHOLE_MAPS], ids=lambda own: own.label)
@pytest.mark.parametrize("name", SLOPES)
def test_the_derivative_on_windows_and_on_whole_maps(name, adjoint):
    """Each unit sees the slope at its own image, and nothing arrives outside of its window."""
    target, args, slope = SLOPES[name]
    node, x, value, walk = of_one(target, *args)
    ((below, found),) = adjoint.back(node, SIGNAL, walk)
    assert below is x
    same(whole(found), whole(SIGNAL) * slope(value)[IMAGE_OF])
    assert found.lies_as(SIGNAL) == (adjoint is IN_PLACE)


def test_an_operand_that_is_read_twice_gets_the_sum():
    (x,) = placeholders(SHAPE)
    node, value = call(aten.mul.Tensor, x, x), constant(*SHAPE, seed=2)
    ((_, found),) = IN_PLACE.back(node, SIGNAL, walking(node, {x: value}))
    same(whole(found), 2 * whole(SIGNAL) * value[IMAGE_OF])


def test_a_factor_for_each_image_gets_the_sum_over_its_cells():
    """It is one value for all cells, so no windows lie on it."""
    x, gate = placeholders(SHAPE, (2, 3, 1, 1))
    node = call(aten.mul.Tensor, x, gate)
    values = {x: constant(*SHAPE, seed=2), gate: constant(2, 3, 1, 1, seed=3)}
    found = dict(IN_PLACE.back(node, SIGNAL, walking(node, values)))
    same(whole(found[x]), whole(SIGNAL) * values[gate][IMAGE_OF])
    assert found[gate].axes == ()
    same(found[gate].data, (whole(SIGNAL) * values[x][IMAGE_OF]).sum((2, 3), keepdim=True))
    assert not found[gate].fresh or 0 not in found[gate].data.stride()


def test_of_several_outputs_only_those_that_got_a_signal_are_differentiated():
    (x,) = placeholders(SHAPE)
    node, value = call(aten.split.Tensor, x, 1, 3), constant(*SHAPE, seed=2)
    walk = walking(call(aten.relu.default, x), {x: value})
    walk.record.shapes[node] = [(2, 3, 6, 1)] * 7
    walk = Walk(walk.record, IMAGE_OF, {node: (x,)}, walk.by_image)
    column = Windows(constant(3, 3, 6, 1, seed=4))
    ((_, found),) = ON_WHOLE_MAPS.back(node, {4: column}, walk)
    expected = torch.zeros(3, *SHAPE[1:]).double()
    expected[..., 4:5] = column.data
    same(found.data, expected)


def test_what_has_no_derivative_is_refused():
    node, _, _, walk = of_one(aten.special_airy_ai.default)
    message = (
        "^PyTorch has no derivative of special_airy_ai, so no signal can be passed back through it; choose"
    )
    for adjoint in (IN_PLACE, ON_WHOLE_MAPS):
        with pytest.raises(UnsupportedOperatorError, match=message):
            list(adjoint.back(node, SIGNAL, walk))


def test_a_signal_that_is_passed_on_is_the_same():
    node, x, _, walk = of_one(aten.clone.default)
    assert list(PASS_ON.back(node, SIGNAL, walk)) == [(x, SIGNAL)]


@pytest.mark.parametrize(
    ("shape", "dims"), [((2, 3, 1, 1), (2, 3)), ((2, 1, 6, 7), (1,)), ((2, 3, 6, 1), (3,))]
)
def test_what_was_stretched_gets_the_sum_of_its_copies(shape, dims):
    x, small = placeholders(SHAPE, shape)
    node = call(aten.add.Tensor, x, small)
    walk = walking(node, {x: constant(*SHAPE), small: constant(*shape)})
    assert summed(SIGNAL, x, node, walk) is SIGNAL
    same(summed(SIGNAL, small, node, walk).data, whole(SIGNAL).sum(dims, keepdim=True))


@pytest.mark.parametrize(
    ("shape", "stays"),
    [
        (SHAPE, True),
        ((2, 3, 1, 1), True),
        ((3, 1, 1), False),  # it depends on the pixels, and has no batch first
        ((2, 3, 6, 1), False),  # cells along one axis alone
    ],
)
def test_windows_stay_where_every_operand_has_cells_for_them_or_one_for_all(shape, stays):
    x, other = placeholders(SHAPE, shape)
    node = call(aten.add.Tensor, x, other)
    walk = walking(node, {x: constant(*SHAPE), other: constant(*shape)})
    found = on_common_cells(node, SIGNAL, walk)
    assert (found is SIGNAL) == stays
    same(whole(found), whole(SIGNAL))


def test_what_an_argument_has_on_the_windows():
    x, gate, weight = placeholders(SHAPE, (2, 3, 1, 1), (3, 1, 1))
    node = call(aten.mul.Tensor, x, gate)
    values = {x: constant(*SHAPE), gate: constant(2, 3, 1, 1), weight: constant(3, 1, 1)}
    walk = walking(node, values)
    assert seen_by(2.5, SIGNAL, walk) == 2.5
    assert seen_by(weight, SIGNAL, walk) is values[weight]
    same(seen_by(gate, SIGNAL, walk), values[gate][IMAGE_OF])
    for unit, (top, left) in enumerate(zip(AXES[0][1], AXES[1][1], strict=True)):
        own = values[x][IMAGE_OF[unit], :, top : top + 2, left : left + 4]
        same(seen_by(x, SIGNAL, walk)[unit], own)


def test_the_size_of_a_constant_is_that_of_its_value():
    x, weight = placeholders(SHAPE, (3, 1, 1))
    node = call(aten.mul.Tensor, x, weight)
    walk = walking(node, {x: constant(*SHAPE)})
    walk.record.values[weight] = constant(3, 1, 1)
    assert walk.sizes(weight) == (3, 1, 1)
    assert walk.sizes(node) == SHAPE
