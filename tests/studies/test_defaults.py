"""The layers that studies take by default."""

import pytest
from torch import nn

import backlight
from backlight.errors import BadInputError
from backlight.studies.defaults import late_layers


def body(*last):
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(),
        nn.Conv2d(4, 2, 1), nn.ReLU(), *last,
    )  # fmt: skip


def layers(model):
    return late_layers(backlight.capture(model, (3, 10, 10)))


def test_before_a_linear_output_the_last_maps_and_the_last_hidden_vector():
    assert layers(body(nn.Flatten(), nn.Linear(32, 6), nn.ReLU(), nn.Linear(6, 2))) == ["7", "10"]


def test_where_the_output_reads_the_maps_both_are_what_leads_to_it():
    found = layers(body(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2)))
    assert found[0] == "7"
    assert len(found) == 2


def test_without_an_output_of_classes_the_last_three():
    assert layers(body()) == ["3", "5", "7"]


def test_a_network_without_maps_has_no_default():
    model = nn.Sequential(nn.Flatten(), nn.Linear(300, 4))
    with pytest.raises(BadInputError, match="has no feature maps to take by default; name layers"):
        layers(model)
