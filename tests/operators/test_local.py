"""Locality: which constants keep an operator from giving on a crop what it gives on the image."""

import pytest
import torch

from backlight.operators import local
from replicas.nodes import call, placeholders

MAPS, TOKENS, SPECTROGRAM = ("n", "c", "h", "w"), ("n", "hw", "c"), ("n", "h", "w")
CASES = [  # roles, the shape of the constant, and whether it is local cell by cell and by channel
    (MAPS, (4, 1, 1), True, True),
    (MAPS, (1, 4, 1, 1), True, True),
    (MAPS, (), True, True),
    (MAPS, (6, 1), False, True),
    (MAPS, (7,), False, True),
    (MAPS, (1, 1, 6, 7), False, True),
    (TOKENS, (4,), True, False),
    (TOKENS, (42, 1), False, False),
    (TOKENS, (1, 1), True, True),
    (("n", "c", "", ""), (5,), False, True),  # of no role: it may be rows
    (SPECTROGRAM, (6, 1), False, False),
    (("n", "nc", "h", "w"), (8, 1, 1), True, True),
]


@pytest.mark.parametrize(("roles", "shape", "by_cell", "by_channel"), CASES)
def test_a_constant_with_an_entry_for_each_position_is_not_local(roles, shape, by_cell, by_channel):
    (node,) = (constant,) = placeholders(shape)
    assert local.cell_by_cell(node, roles, [constant]) == by_cell
    assert local.by_channel(node, roles, [constant]) == by_channel
    assert local.by_definition(node, roles, [constant])


def test_one_constant_of_several_is_enough():
    harmless, rows = placeholders((4, 1, 1), (6, 1))
    assert not local.cell_by_cell(harmless, MAPS, [harmless, rows])
    assert local.cell_by_cell(harmless, MAPS, [])


@pytest.mark.parametrize(("shape", "expected"), [((1, 4, 1, 1), True), ((1, 1, 6, 1), False)])
def test_the_rule_is_true_of_a_sum(shape, expected):
    """On the rows from 2 to 4 of an image: a constant is cut nowhere, so it must not have rows."""
    image, constant = torch.arange(168.0).view(1, 4, 6, 7), torch.arange(24.0)[: max(shape)].view(shape)
    nodes = placeholders(image.shape, shape)
    node = call(torch.ops.aten.add.Tensor, *nodes)
    crop = image[:, :, 2:5] + constant.expand(1, 4, -1, 1)[:, :, :3]
    gives_the_same = bool(torch.equal(crop, (image + constant)[:, :, 2:5]))
    assert gives_the_same == local.cell_by_cell(node, MAPS, nodes[1:]) == expected
