"""Forward masks in the topmost levels: deconvnet below, guided above, whatever layer is projected."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from torch import nn

import backlight
from backlight import DECONVNET, GUIDED
from backlight.operators.ruleset import MASKED
from backlight.projection.rewrite import top_rectifiers

SIDE = 12


class Branched(nn.Module):
    """Six levels of rectifiers: two before a block of a long and a short branch, one after it, and one of a vector."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(3 if i == 0 else 4, 4, 3, padding=1) for i in range(6))
        self.last = nn.Linear(4, 4)
        generator = torch.Generator().manual_seed(0)
        for own in self.parameters():
            own.data.normal_(0, 0.4, generator=generator)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second, long, long_too, short, after = self.convs
        x = torch.relu(second(torch.relu(first(x))))
        x = torch.relu(long_too(torch.relu(long(x)))) + torch.relu(short(x))
        return torch.relu(self.last(torch.relu(after(x)).mean((2, 3))))


@pytest.fixture(scope="module")
def net() -> backlight.Network:
    return backlight.capture(Branched().eval(), (3, SIDE, SIDE))


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    return torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def masked(levels: int) -> backlight.RuleSet:
    return replace(MASKED, name=f"masked {levels}", masked_levels=levels)


def test_levels_are_counted_from_the_top_on_the_longest_way(net: backlight.Network) -> None:
    at = [{net.where(node) for node in top_rectifiers(net, n)} for n in range(7)]
    sizes = [len(own) for own in at]
    # the vector's rectifier does not count; the short branch shares the level of the long one's last
    assert sizes == [0, 1, 3, 4, 5, 6, 6]
    assert all(below < above for below, above in itertools.pairwise(at[:6]))


def project(
    net: backlight.Network, image: torch.Tensor, layer: str, rules: backlight.RuleSet
) -> torch.Tensor:
    units = backlight.strongest(net, image, layer, 1)
    return backlight.project(net, image, units, rules)


def test_no_level_is_the_deconvnet_and_all_are_guided(net: backlight.Network, image: torch.Tensor) -> None:
    top = net.default_layers[-1].name
    torch.testing.assert_close(
        project(net, image, top, masked(0)), project(net, image, top, DECONVNET), rtol=0, atol=0
    )
    torch.testing.assert_close(
        project(net, image, top, masked(99)), project(net, image, top, GUIDED), rtol=0, atol=0
    )
    assert masked(0) == DECONVNET


def test_a_layer_below_the_masks_is_projected_as_by_the_deconvnet(
    net: backlight.Network, image: torch.Tensor
) -> None:
    """Levels are those of the network, not of the layer: a lower layer's picture does not change with the parameter."""
    names = [layer.name for layer in net.default_layers]
    low, top = names[1], names[-1]
    torch.testing.assert_close(
        project(net, image, low, masked(3)), project(net, image, low, DECONVNET), rtol=0, atol=0
    )
    assert not torch.equal(project(net, image, low, masked(5)), project(net, image, low, DECONVNET))
    found = [project(net, image, top, masked(n)) for n in range(6)]
    assert all(not torch.equal(a, b) for a, b in itertools.pairwise(found[1:]))


def test_it_is_the_product_of_both_rules_written_by_hand(image: torch.Tensor) -> None:
    """A chain of three: the mask at the topmost two rectifiers, none below."""
    convs = [nn.Conv2d(3 if i == 0 else 4, 4, 3, bias=False).double() for i in range(3)]
    generator = torch.Generator().manual_seed(3)
    for own in convs:
        own.weight.data.normal_(0, 0.4, generator=generator)
    model = nn.Sequential(*(part for own in convs for part in (own, nn.ReLU())))
    net = backlight.capture(model, (3, SIDE, SIDE))
    x = image.double()
    unit = backlight.strongest(net, x, net.default_layers[-1].name, 2)[0]
    found = backlight.project(net, x, [unit], masked(2))[0]
    maps = [x]
    for own in convs:
        maps.append(torch.relu(own(maps[-1])))
    signal = torch.zeros_like(maps[-1])
    signal[0, 2, unit.row, unit.col] = maps[-1][0, 2, unit.row, unit.col]
    for i in (2, 1, 0):
        signal = signal.clamp_min(0) * ((maps[i + 1] > 0) if i >= 1 else 1)
        signal = nn.functional.conv_transpose2d(signal, convs[i].weight)
    torch.testing.assert_close(found, signal[0].to(found.dtype))
