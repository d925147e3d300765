"""Responses of single units: what a crop answers is what the whole input answers."""

import numpy as np
import pytest
import torch
from torch import nn

import backlight
from backlight import Unit
from backlight.studies.responses import UnitResponses

SIDE = 40


@pytest.fixture(scope="module")
def net():
    generator = torch.Generator().manual_seed(0)
    body = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 3, padding=1), nn.ReLU()
    )
    model = nn.Sequential(*body, nn.Flatten(), nn.Linear(405, 6), nn.ReLU())
    for own in model.parameters():
        own.data.normal_(0, 0.4, generator=generator)
    return backlight.capture(model.eval(), (3, SIDE, SIDE))


@pytest.fixture(scope="module")
def inputs():
    return torch.randn(4, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def test_units_answer_on_their_crops_as_in_the_whole(net, inputs):
    responses = UnitResponses(net, net.layer("4"))
    (maps,) = net.features("4")(inputs)
    units = [Unit("4", 2, 0, 0), Unit("4", 0, 4, 4), Unit("4", 4, 8, 8), Unit("4", 1, 0, 8)]
    for i, unit in enumerate(units):
        window = responses.window(unit)
        assert window.area < SIDE * SIDE
        found = responses(inputs[i : i + 1, :, *window.slices()], [unit])
        np.testing.assert_allclose(
            found, maps[i, unit.channel, unit.row, unit.col].detach(), rtol=1e-5, atol=1e-6
        )
        around = responses.around(inputs[i : i + 1, :, *window.slices()], [unit])
        np.testing.assert_allclose(around[0], maps[i, :, unit.row, unit.col].detach(), rtol=1e-5, atol=1e-6)


def test_units_without_a_place_see_the_whole_input(net, inputs):
    responses = UnitResponses(net, net.layer("7"))
    (values,) = net.features("7")(inputs)
    units = [Unit("7", channel, None, None) for channel in (0, 5, 3, 3)]
    assert responses.window(units[0]).area == SIDE * SIDE
    found = responses(inputs, units)
    np.testing.assert_allclose(
        found, [values[i, own.channel].item() for i, own in enumerate(units)], rtol=1e-5
    )


def test_a_batch_of_any_length_gives_the_same(net, inputs):
    responses = UnitResponses(net, net.layer("4"))
    unit = Unit("4", 1, 4, 4)
    crops = inputs[:, :, *responses.window(unit).slices()]
    whole = responses(crops, [unit] * 4)
    responses.batch_size = 3
    np.testing.assert_allclose(responses(crops, [unit] * 4), whole, rtol=1e-6)
