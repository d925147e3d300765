"""The projector: units of several layers and images, on whole images or on crops, each on the window that it fills."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from backlight import DECONVNET, GRADIENT, Network, Unit, capture, project
from backlight.errors import UnsupportedOperatorError
from backlight.geometry import Box
from backlight.projection import MOST_UNITS, Projector
from backlight.projection.crops import crops_of
from backlight.projection.projector import Projections, inputs_at_once
from replicas.compare import same, same_bits

SIZE = (20, 17)
IMAGES = torch.randn(4, 3, *SIZE, generator=torch.Generator().manual_seed(1)).double()
UNITS = [
    Unit("1", 2, 0, 0),
    Unit("4", 1, 3, 7),
    Unit("1", 0, 9, 8),
    Unit("4", 3, 9, 0),
    Unit("4", 1, 3, 7),
]
IMAGE_OF = [2, 0, 2, 3, 2]


@pytest.fixture(scope="module")
def net() -> Network:
    """Return two convolutions with ReLUs ("1" and "4") and a pool between."""
    torch.manual_seed(0)
    first, second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 5, 3, padding=1)
    for conv in (first, second):
        nn.init.constant_(conv.bias, 2.0)  # type: ignore[arg-type]  # no unit of the tests is dead
    return capture(nn.Sequential(first, nn.ReLU(), nn.MaxPool2d(2), second, nn.ReLU()).double(), (3, *SIZE))


def whole(found: Projections) -> Tensor:
    """Return the projections on all of the image, (n, c, h, w)."""
    return torch.stack([found.on(i, Box(0, 0, *SIZE)) for i in range(len(found.signals))])


# --- projections --------------------------------------------------------------------------------------------


def test_a_projection_is_its_signal_in_its_window_and_zero_elsewhere() -> None:
    signal = torch.arange(1.0, 7.0).view(1, 2, 3)
    found = Projections(torch.ones(2), (signal, signal), ((4, 5), (-1, -2)))
    inside = found.on(0, Box(3, 4, 7, 9))
    expected = torch.zeros(1, 4, 5)
    expected[0, 1:3, 1:4] = signal[0]
    assert torch.equal(inside, expected)
    assert found.on(0, Box(5, 6, 6, 7)).tolist() == [[[5.0]]]
    assert torch.equal(found.on(0, Box(0, 0, 4, 5)), torch.zeros(1, 4, 5))
    assert found.on(1, Box(0, 0, 2, 2)).tolist() == [[[6.0, 0.0], [0.0, 0.0]]]  # a corner may lie outside


# --- how many at once ---------------------------------------------------------------------------------------


def test_crops_are_run_as_many_at_once_as_have_the_pixels_of_the_images(net: Network) -> None:
    crops = crops_of(net, net.layer("1"))
    assert crops is not None
    assert inputs_at_once(net, None, 7) == 7
    assert inputs_at_once(net, crops, 2) == 2 * SIZE[0] * SIZE[1] // crops.area
    assert inputs_at_once(net, crops, 10_000) == MOST_UNITS
    assert Projector(net, [net.layer("1")], crops=crops, n_images=2).batch_size == inputs_at_once(
        net, crops, 2
    )


# --- units of several layers and images ---------------------------------------------------------------------


@pytest.mark.parametrize("n_images", [1, 2, 16])
def test_each_unit_is_projected_in_its_own_image_whatever_the_batches(net: Network, n_images: int) -> None:
    projector = Projector(net, [net.layer("4"), net.layer("1")], n_images=n_images)
    found = projector(IMAGES, UNITS, IMAGE_OF)
    for i, (unit, image) in enumerate(zip(UNITS, IMAGE_OF, strict=True)):
        picture, value = project(net, IMAGES[image], unit, return_activations=True)
        same(whole(found)[i], picture[0], 1e-13)
        same(found.values[i], value[0], 1e-13)


def test_without_places_each_unit_has_the_image_of_its_own_place(net: Network) -> None:
    projector = Projector(net, [net.layer("4")])
    units = [UNITS[1]] * 4
    found = projector(list(IMAGES), units)
    same_bits(whole(found), whole(projector(IMAGES, units, [0, 1, 2, 3])))
    assert len({float(value) for value in found.values}) == 4


def test_a_signal_is_no_larger_than_its_receptive_field(net: Network) -> None:
    layer = net.layer("4")
    assert layer.receptive_field is not None
    found = Projector(net, [layer], GRADIENT)(IMAGES, [Unit("4", 1, 3, 4)], [0])
    (signal,), ((top, left),) = found.signals, found.corners
    assert signal.shape == (3, 8, 8)
    assert Box(top, left, top + 8, left + 8) == layer.receptive_field.box(3, 4)


def test_crops_give_what_whole_images_give(net: Network) -> None:
    layer, units = net.layer("1"), [UNITS[0], UNITS[2], Unit("1", 3, 19, 16)]
    crops = crops_of(net, layer)
    assert crops is not None
    found = Projector(net, [layer], crops=crops)(IMAGES, units, [2, 2, 1])
    expected = Projector(net, [layer])(IMAGES, units, [2, 2, 1])
    same(whole(found), whole(expected), 1e-13)
    same(found.values, expected.values, 1e-13)


# --- seeds and modes ----------------------------------------------------------------------------------------


def test_seeds_take_the_place_of_the_activations_and_belong_to_their_units(net: Network) -> None:
    projector, seeds = (
        Projector(net, [net.layer("1"), net.layer("4")], GRADIENT),
        torch.tensor([1.0, -2, 3, 0.5, 4]),
    )
    own, seeded = (projector(IMAGES, UNITS, IMAGE_OF, given) for given in (None, seeds))
    same_bits(own.values, seeded.values)
    ratio = (seeds / own.values).view(-1, 1, 1, 1)
    assert own.values.all()
    same(whole(seeded), whole(own) * ratio)


class _Sine(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x.sin()


@pytest.fixture(scope="module")
def sine() -> Network:
    """Return a network of an operator without a rule, which is differentiated by PyTorch."""
    return capture(_Sine().double(), torch.zeros(1, 3, *SIZE).double())


def test_a_projector_works_where_the_user_has_turned_inference_mode_on(sine: Network) -> None:
    projector, unit = Projector(sine, [sine.layer("mul")], GRADIENT), [Unit("mul", 1, 2, 3)]
    with torch.inference_mode():
        found = projector(IMAGES, unit, [0])
    pixel = IMAGES[0, 1, 2, 3]
    expected = torch.zeros(1, 3, *SIZE).double()
    expected[0, 1, 2, 3] = 2 * pixel.sin() * 2 * pixel.cos()
    same(whole(found), expected)
    assert not found.signals[0].requires_grad


def test_an_operator_without_a_rule_is_refused_before_any_image_is_run(sine: Network) -> None:
    with pytest.raises(UnsupportedOperatorError, match="no deconvnet rule for sin at sin"):
        Projector(sine, [sine.layer("mul")], DECONVNET)
