"""The strongest units of a layer, and the sum of their projections."""

import pytest
import torch
from torch import nn

from backlight.errors import BadInputError, UnknownLayerError
from backlight.network import capture
from backlight.operators.ruleset import DECONVNET, GUIDED
from backlight.projection import Unit, project, strongest, strongest_units, superpose
from replicas.compare import differ, pull, same, same_bits


class Same(nn.Module):
    """A layer `relu` whose maps are the image's own, one below it, and a vector of their strongest places."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.relu, self.fc = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Linear(4, 5)

    def forward(self, x):
        return x.relu(), self.fc(self.relu(self.conv(x)).amax((2, 3)))


@pytest.fixture(scope="module")
def net():
    return capture(Same().double(), torch.zeros(3, 4, 5).double())


def image(**places):
    """Return an image of zeros but for {channel: {(row, col): value}} given as c0={...}, c1={...}."""
    found = torch.zeros(3, 4, 5).double()
    for channel, values in places.items():
        for (row, col), value in values.items():
            found[int(channel[1]), row, col] = value
    return found


def test_the_strongest_unit_of_a_map_in_each_image(net):
    images = torch.stack([image(c1={(2, 3): 4.0, (0, 1): 3.0}), image(c1={(3, 0): 1.0}, c0={(0, 0): 9.0})])
    assert strongest(net, images, "relu", 1) == [Unit("relu", 1, 2, 3), Unit("relu", 1, 3, 0)]


def test_of_equal_activations_the_first_in_raster_order_is_the_strongest(net):
    """*Convention*: rows before columns, and a map of zeros gives its first place."""
    tied = image(c0={(1, 4): 2.0, (2, 0): 2.0, (3, 3): 2.0})
    assert strongest(net, tied, "relu", 0) == [Unit("relu", 0, 1, 4)]
    assert strongest(net, tied, "relu", 2) == [Unit("relu", 2, 0, 0)]
    assert strongest_units(net, tied, "relu", 3) == [
        Unit("relu", 0, 1, 4),
        Unit("relu", 1, 0, 0),
        Unit("relu", 2, 0, 0),
    ]
    assert strongest_units(net, tied, "relu", 3, channel=0) == [
        Unit("relu", 0, 1, 4),
        Unit("relu", 0, 2, 0),
        Unit("relu", 0, 3, 3),
    ]


def test_over_a_layer_each_map_counts_by_its_strongest_unit_only(net):
    """*Convention*: else both of the two strongest would be of map 2."""
    picture = image(c2={(0, 0): 9.0, (0, 1): 8.0}, c0={(3, 4): 7.0, (1, 1): 6.0}, c1={(2, 2): 5.0})
    units = [Unit("relu", 2, 0, 0), Unit("relu", 0, 3, 4), Unit("relu", 1, 2, 2)]
    for top in (1, 2, 3):
        assert strongest_units(net, picture, "relu", top) == units[:top]
    assert strongest_units(net, picture, "relu", 99) == units
    assert strongest_units(net, picture, "relu", 2, channel=2) == [
        Unit("relu", 2, 0, 0),
        Unit("relu", 2, 0, 1),
    ]


def test_without_a_channel_the_strongest_of_the_layer_is_taken(net):
    images = torch.stack([image(c0={(1, 2): 3.0}, c1={(0, 0): 2.0}), image(c2={(3, 0): 1.0})])
    assert strongest(net, images, "relu") == [Unit("relu", 0, 1, 2), Unit("relu", 2, 3, 0)]


def test_equal_maps_come_in_their_own_order(net):
    picture = image(c2={(0, 0): 5.0}, c0={(3, 4): 5.0}, c1={(2, 2): 7.0})
    assert [unit.channel for unit in strongest_units(net, picture, "relu", 3)] == [1, 0, 2]


def test_fully_connected_units_have_no_place(net):
    images = torch.randn(2, 3, 4, 5).double()
    assert strongest(net, images, "fc", 3) == [Unit("fc", 3)] * 2
    order = net.features([net.layer("fc")])(images)[0][1].argsort(descending=True).tolist()
    assert strongest_units(net, images[1], "fc", 3) == [Unit("fc", c) for c in order[:3]]
    assert strongest_units(net, images[1], "fc", 3, channel=2) == [Unit("fc", 2)]


@pytest.mark.parametrize("channel", [None, 2])
@pytest.mark.parametrize("rules", [DECONVNET, GUIDED], ids=lambda rules: rules.name)
def test_superpose_is_the_sum_of_single_projections(net, rules, channel):
    picture = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(2)).double()
    units = strongest_units(net, picture, "relu_1", 4, channel)
    assert len(set(units)) == 4
    found = superpose(net, picture, "relu_1", 4, channel, rules)
    assert found.shape == (3, 4, 5)
    same(found, sum(project(net, picture, [unit], rules)[0] for unit in units))


def test_superpose_is_not_the_projection_of_all_units_together():
    """*Convention*: one by one. The deconvnet is not additive."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.ReLU()).double()
    picture = torch.randn(3, 6, 6, generator=torch.Generator().manual_seed(2)).double()
    net = capture(model, picture)
    units = strongest_units(net, picture, "3", 3)
    value = net.features([net.layer("3")])(picture[None])[0]
    together = torch.zeros_like(value)
    for unit in units:
        together[0, unit.channel, unit.row, unit.col] = value[0, unit.channel, unit.row, unit.col]
    differ(superpose(net, picture, "3", 3), pull(net, "3", picture[None], together, DECONVNET)[1][0], 0.01)


def test_superpose_takes_three_units_of_three_maps_unless_told_otherwise(net):
    picture = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(3)).double()
    same_bits(superpose(net, picture, "relu_1"), superpose(net, picture[None], "relu_1", 3, None, DECONVNET))


def test_superpose_of_a_fully_connected_layer(net):
    picture = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(4)).double()
    units = strongest_units(net, picture, "fc", 2)
    same(superpose(net, picture, "fc", 2), project(net, picture, units).sum(0))


def test_what_cannot_be_asked(net):
    pictures = torch.zeros(2, 3, 4, 5).double()
    with pytest.raises(BadInputError, match=r"^units of one image are superposed, got 2 images; "):
        superpose(net, pictures, "relu")
    for ask in (strongest_units, superpose):
        with pytest.raises(BadInputError, match=r"^top is the number of units to take, at least 1, got 0$"):
            ask(net, pictures[0], "relu", 0)
        with pytest.raises(
            BadInputError, match=r"^channel 3 is out of range for layer 'relu' \(3 feature maps\); "
        ):
            ask(net, pictures[0], "relu", 1, 3)
        with pytest.raises(
            UnknownLayerError, match=r"^Same has no layer 'relu_2'; did you mean 'relu_1'\?; "
        ):
            ask(net, pictures[0], "relu_2", 1)
    with pytest.raises(
        BadInputError, match=r"^channel 5 is out of range for layer 'fc' \(5 feature maps\); "
    ):
        strongest(net, pictures, "fc", 5)
    with pytest.raises(UnknownLayerError, match=r"^Same has no layer 'ful'"):
        strongest(net, pictures, "ful", 0)
    with pytest.raises(BadInputError, match=r"^Same was captured for inputs of 3x4x5, got 1x3x5x4; "):
        strongest(net, torch.zeros(3, 5, 4).double(), "relu", 0)


def test_a_comparison_has_no_strongest_unit():
    class Compares(nn.Module):
        def forward(self, x):
            return x * (x.abs() > 0.5)

    net = capture(Compares(), torch.zeros(3, 4, 5))
    with pytest.raises(
        BadInputError, match=r"^layer 'gt' holds true and false, not activations; choose the layer below"
    ):
        strongest(net, torch.rand(2, 3, 4, 5), "gt", channel=0)


def test_units_can_be_summed():
    one, other = Unit("relu", 0, 1, 1), Unit("relu", 1, 2, 2)
    assert sum([one, other]) == one + other
    assert sum([one + other, one]) == one + other + one
    assert sum([one]) == one
    with pytest.raises(TypeError):
        3 + one
