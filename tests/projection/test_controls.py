"""Replaced switches point into their windows, at the centre or at random, and are those of another image."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import backlight
from backlight.projection import Projector, Unit
from backlight.projection.controls import Control, replaced_switches


def _projections(
    pool: nn.Module, control: Control | None, images: torch.Tensor, cell: int = 1
) -> torch.Tensor:
    """Return what a unit of a bare max pool sends down, for each image."""
    net = backlight.capture(nn.Sequential(pool), (1, 9, 9))
    layer = net.layers[-1]
    found = Projector(net, [layer], control=control)(
        list(images), [Unit(layer.name, 0, cell, cell)] * len(images)
    )
    return torch.stack([found.on(i, backlight.Box(0, 0, 9, 9))[0] for i in range(len(images))])


@pytest.mark.parametrize(
    ("pool", "centre"),
    [
        (nn.MaxPool2d(3), (4, 4)),
        (nn.MaxPool2d(3, 2), (3, 3)),
        (nn.MaxPool2d(2, 2), (2, 2)),
        (nn.MaxPool2d(3, 2, padding=1), (2, 2)),
        (nn.MaxPool2d((3, 1), (1, 2)), (2, 2)),
        (nn.MaxPool2d(3, 1, dilation=2), (3, 3)),
    ],
)
def test_the_centre_is_that_of_the_window(pool: nn.Module, centre: tuple[int, int]) -> None:
    images = torch.rand(2, 1, 9, 9)
    for sent in _projections(pool, replaced_switches("centre", torch.Generator()), images):
        assert sent.nonzero().tolist() == [list(centre)]
        assert float(sent.sum()) == 1.0


def test_places_at_random_stay_in_the_window_and_reach_all_of_it() -> None:
    images = torch.rand(200, 1, 9, 9)
    sent = _projections(
        nn.MaxPool2d(3), replaced_switches("random", torch.Generator().manual_seed(0)), images
    )
    assert (sent.sum((1, 2)) == 1).all()
    inside = sent[:, 3:6, 3:6].sum(0)
    assert inside.sum() == 200
    assert (inside > 8).all()


def test_another_image_lends_its_switches() -> None:
    images = torch.rand(3, 1, 9, 9)
    own = _projections(nn.MaxPool2d(3), Control(1.0), images)
    lent = _projections(nn.MaxPool2d(3), replaced_switches("other image", torch.Generator()), images)
    assert torch.equal(lent, own.roll(1, 0))


def test_a_seed_takes_the_place_of_the_activation() -> None:
    images = torch.rand(2, 1, 9, 9)
    own, seeded = (_projections(nn.MaxPool2d(3), control, images) for control in (None, Control(5.0)))
    assert torch.equal(seeded > 0, own > 0)
    assert (seeded.amax((1, 2)) == 5).all()
    assert torch.equal(own.amax((1, 2)), images[:, 0, 3:6, 3:6].amax((1, 2)))
