"""Units that are projected together: one picture for the seeds of all, not the sum of their own pictures."""

import copy
from itertools import combinations

import captum.attr
import pytest
import torch
from torch import nn

from backlight.errors import BadInputError
from backlight.network import capture
from backlight.operators.ruleset import DECONVNET, GRADIENT, GUIDED, RuleSet
from backlight.projection import Unit, Units, project, strongest_units
from replicas.compare import differ, same, same_bits
from replicas.twin import Add, Twin

RULES = [DECONVNET, GUIDED, GRADIENT]


@pytest.fixture(scope="module")
def twin():
    """Return a network with a fan-out, a pool and a skip, and its image."""
    torch.manual_seed(3)
    steps = [
        nn.Conv2d(3, 4, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.ReLU(),
        (Add(), (5, 3)),
        nn.Conv2d(4, 5, 3, padding=1),
        nn.ReLU(),
    ]
    return Twin(*steps), torch.randn(3, 11, 12).double()


def active(values, count):
    """Return places of positive activations, spread over a layer."""
    places = [tuple(map(int, place)) for place in (values > 0).nonzero()]
    assert len(places) > count
    return places[:: len(places) // count][:count]


def unit(step, place):
    return Unit(f"steps.{step - 1}", *place)


@pytest.mark.parametrize("rules", RULES, ids=lambda rules: rules.name)
def test_two_units_are_the_deconvnet_written_out_with_two_activations(twin, rules):
    """Of one layer, near and far, and of two layers, one of which is on the way of the other."""
    model, image = twin
    net, replica = capture(model, image), model.replica()
    values = replica.up(image.numpy())
    high, low = ([(step, p) for p in active(torch.as_tensor(values[step]), 3)] for step in (8, 2))
    for pair in [*combinations(high, 2), *combinations(low, 2), (high[0], low[1]), (low[2], high[2])]:
        units = [unit(*own) for own in pair]
        found, total = project(net, image, units[0] + units[1], rules, return_activations=True)
        same(found[0], replica.down_together(pair, rules))
        same(total, torch.tensor([sum(values[step][place] for step, place in pair)]))


def test_what_rectifiers_share_is_not_the_sum_of_the_pictures(twin):
    """*Convention*: signals are added, then rectified; where nothing is rectified the sum is the same."""
    model, image = twin
    net = capture(model, image)
    units = strongest_units(net, image, "steps.7", 4)
    alone = {rules.name: project(net, image, units, rules).sum(0) for rules in RULES}
    for rules in (DECONVNET, GUIDED):
        differ(project(net, image, [units], rules)[0], alone[rules.name])
    same(project(net, image, [units], GRADIENT)[0], alone["gradient"])


def test_a_sum_of_one_unit_is_the_unit(twin):
    model, image = twin
    net = capture(model, image)
    for own in strongest_units(net, image, "steps.7", 2):
        same_bits(project(net, image, Units((own,))), project(net, image, own))
        same(project(net, image, own + own), 2 * project(net, image, own))


def test_sums_lists_and_single_units_in_one_call_are_the_same_as_one_by_one(twin):
    model, _ = twin
    images = torch.randn(5, 3, 11, 12, generator=torch.Generator().manual_seed(1)).double()
    net = capture(model, images)
    a, b, c, d = (
        Unit("steps.7", 1, 0, 0),
        Unit("steps.7", 3, 5, 5),
        Unit("steps.1", 2, 4, 4),
        Unit("steps.7", 0, 2, 3),
    )
    given = [a + b, d, [b, c, a], c, a + b + d]
    seeds = torch.tensor([1.0, -2.0, 0.5, 3.0, 2.0])
    for batch_size in (1, 2, 32):
        for seed in ("activation", 1, seeds):
            found = project(net, images, given, seed=seed, batch_size=batch_size)
            alone = [
                project(net, image, [own], seed=float(seeds[i]) if seed is seeds else seed)[0]
                for i, (image, own) in enumerate(zip(images, given, strict=True))
            ]
            same(found, torch.stack(alone), 1e-13)
    assert found.units == (a + b, d, Units((b, c, a)), c, a + b + d)
    # One image for all of them, and one sum for all images.
    same(project(net, images[:1], given)[2], project(net, images[0], [given[2]])[0], 1e-13)
    same(project(net, images, a + b)[3], project(net, images[3], a + b)[0], 1e-13)


def test_units_of_one_place_run_on_their_crop():
    """Two channels at one place of a large image, whose crop is a small part of it."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU()).double()
    image = torch.randn(3, 40, 40).double()
    net = capture(model, image)
    here, beside = Unit("3", 0, 20, 9) + Unit("3", 2, 20, 9), Unit("3", 0, 20, 9) + Unit("3", 2, 20, 10)
    for units, width in ((here, 5), (beside, 6)):
        found = project(net, image, units, seed=1)[0]
        assert found.abs().sum((0, 1)).nonzero().flatten().tolist() == list(range(9, 9 + width))


@pytest.mark.filterwarnings("ignore:(Setting|Input Tensor)")
@pytest.mark.parametrize("name", ["deconvnet", "guided"])
def test_equals_captum_with_a_selector_that_adds_neurons(name):
    method = {"deconvnet": captum.attr.NeuronDeconvolution, "guided": captum.attr.NeuronGuidedBackprop}[name]
    rules = RuleSet(name, name, average_pool="transpose")
    torch.manual_seed(1)
    model = nn.Sequential(
        *(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(8 * 49, 9), nn.ReLU(), nn.Linear(9, 3)),
    ).double()
    image = torch.randn(3, 18, 18).double()
    net = capture(model, image)
    for layer in ("4", "7"):
        units = strongest_units(net, image, layer, 3)
        places = [tuple(v for v in (u.channel, u.row, u.col) if v is not None) for u in units]
        theirs = copy.deepcopy(model).eval()
        expected = method(theirs, theirs.get_submodule(layer)).attribute(
            image[None].clone(), lambda out, places=places: sum(out[:, *p] for p in places)
        )
        same(project(net, image, [units], rules, seed=1), expected, 1e-11)


def test_a_sum_is_written_with_a_plus():
    a, b = Unit("relu2", 3, 1, 2), Unit("fc", 7)
    assert a + b == Units((a, b))
    assert a + b + a == a + (b + a) == Units((a, b, a))
    assert repr(a + b) == "Unit('relu2', 3, 1, 2) + Unit('fc', 7)"
    assert str(a + b) == "relu2 channel 3, row 1, column 2 + fc channel 7"
    assert str(a + b + a) == "3 units of relu2, fc together"
    with pytest.raises(
        BadInputError, match=r"^units that are projected together are at least one, got none$"
    ):
        Units(())
    with pytest.raises(BadInputError, match=r"^channel 9 is out of range for layer 'conv2d'"):
        net = capture(nn.Conv2d(3, 4, 3), (3, 8, 8))
        project(net, torch.rand(3, 8, 8), Unit("conv2d", 0, 1, 1) + Unit("conv2d", 9, 1, 1))
