"""Decompositions: projections add up, unlike a deconvnet's; the tree of parts down to layer 1."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import backlight
from backlight.adaptive import (
    Activation,
    AdaptiveConfig,
    AdaptiveDeconvNet,
    Block,
    Branch,
    Codes,
    LayerConfig,
)
from backlight.adaptive.decomposition import decompose, single, strongest_activations, tree
from backlight.adaptive.inference import LayerCode
from backlight.errors import BadInputError
from replicas import adaptive as replica
from replicas.adaptive_nets import DEEP, noise, random_codes, random_filters, whole
from replicas.compare import differ, same, same_bits

FOUR = AdaptiveConfig(
    (
        LayerConfig(6, filter=3, block=Block(2, 2, 2)),
        LayerConfig(6, filter=3, block=Block(2, 2, 2)),
        LayerConfig(6, filter=3, block=Block(2, 2, 2)),
        LayerConfig(4, filter=3, block=Block(2, 2, 2)),
    ),
    size=(20, 18),
    contrast=None,
)


def sum_of(parts: list[Branch]) -> Tensor:
    return torch.stack([part.projection for part in parts]).sum(0)


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_projections_of_single_activations_add_up(layer: int) -> None:
    codes, filters = random_codes(DEEP), random_filters(DEEP)
    found = decompose(filters, codes, layer, 3)
    together = single(found.activations, codes[layer].shape, codes[layer].pooled).sum(0, keepdim=True)
    same(found.superposed, found.projections.sum(0))
    same(found.superposed, whole(DEEP, layer, codes, filters)(together)[0])
    everything = decompose(filters, codes, layer, 10**6)
    assert len(everything.activations) == int(codes[layer].maps.count_nonzero())
    same(everything.superposed, everything.whole)
    same_bits(found.whole, everything.whole)


def test_projections_of_a_deconvnet_do_not_add_up() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), nn.ReLU(), nn.Conv2d(8, 5, 3)
    ).double()
    net = backlight.capture(model, (3, 24, 24))
    image = noise(1, 3, 24, 24)
    units = [
        backlight.Unit("5", channel, row, col) for channel, row, col in ((0, 2, 2), (1, 3, 3), (2, 2, 3))
    ]
    added = backlight.project(net, image, units).sum(0)

    signal = torch.zeros_like(model(image))
    for unit in units:
        signal[0, unit.channel, unit.row, unit.col] = model(image)[0, unit.channel, unit.row, unit.col]
    one_by_one = [deconvnet(model, image, signal * (signal == own)) for own in signal[signal != 0]]
    same(torch.stack(one_by_one).sum(0), added, 1e-9)  # the inline deconvnet is the library's
    differ(deconvnet(model, image, signal), added, 0.01)


def deconvnet(model: nn.Sequential, image: Tensor, signal: Tensor) -> Tensor:
    """Return what a signal in the last convolution becomes at the pixels: filter, rectify, unpool, rectify, filter."""
    first, second, third = (model[i] for i in (0, 3, 5))
    maps = torch.relu(first(image))
    _, switches = nn.functional.max_pool2d(maps, 2, return_indices=True)
    signal = torch.relu(nn.functional.conv_transpose2d(signal, third.weight))
    signal = nn.functional.conv_transpose2d(signal, second.weight)
    signal = torch.relu(nn.functional.max_unpool2d(signal, switches, 2, output_size=maps.shape[2:]))
    return nn.functional.conv_transpose2d(signal, first.weight)[0]


def test_the_strongest_come_first_by_magnitude_ties_by_place_and_zeros_never() -> None:
    maps = torch.zeros(2, 3, 4)
    places = [((1, 2, 3), -5.0), ((1, 0, 1), 2.0), ((0, 2, 0), -2.0), ((1, 0, 0), 2.0), ((0, 1, 3), 0.5)]
    for place, value in places:
        maps[place] = value
    expected = [(1, 2, 3, -5.0), (0, 2, 0, -2.0), (1, 0, 0, 2.0), (1, 0, 1, 2.0), (0, 1, 3, 0.5)]
    assert strongest_activations(maps, 2, 100) == [Activation(2, *own) for own in expected]
    assert strongest_activations(maps, 2, 2) == [Activation(2, *own) for own in expected[:2]]
    assert strongest_activations(0 * maps, 2, 3) == []


def test_the_tree_has_5_25_and_125_parts() -> None:
    codes, filters = random_codes(FOUR), random_filters(FOUR)
    top = Activation(4, 1, 2, 2, 1.5)
    found = tree(filters, codes, top)
    assert [len(found.level(depth)) for depth in range(5)] == [1, 5, 25, 125, 0]
    assert found.level(0) == [found]
    assert {part.activation.layer for part in found.level(2)} == {2}


def test_parts_are_the_strongest_of_what_their_parent_paints() -> None:
    codes, filters = random_codes(DEEP), random_filters(DEEP)
    top = decompose(filters, codes, 3, 1).activations[0]
    found = tree(filters, codes, top, 4)
    for parent in [found, *found.level(1)]:
        own, below = parent.activation, parent.activation.layer - 1
        alone = single([own], codes[own.layer].shape, codes[1].pooled)
        block = DEEP.layers[below - 1].block
        sizes = block.maps, block.rows, block.cols
        _, winners = replica.pool(codes[below].maps[0].numpy(), sizes)
        painted = replica.paint(alone[0].numpy(), filters[below].numpy())
        maps = replica.unpool(painted, winners, codes[below].shape, sizes)
        expected = [value for value in sorted(maps.flat, key=abs)[:-5:-1] if value != 0]
        assert [part.activation.value for part in parent.parts] == pytest.approx(expected)
        for part in parent.parts:
            one = part.activation
            assert one.layer == below
            assert one.value == pytest.approx(maps[one.channel, one.row, one.col], rel=1e-12)
    assert all(part.parts == () for part in found.level(2))


@pytest.mark.parametrize("layer", [2, 3])
def test_all_parts_together_are_their_parent(layer: int) -> None:
    codes, filters = random_codes(DEEP), random_filters(DEEP)
    top = decompose(filters, codes, layer, 1).activations[0]
    found = tree(filters, codes, top, 10**4)
    same(found.projection, decompose(filters, codes, layer, 1).superposed)
    for depth in range(1, layer):
        same(sum_of(found.level(depth)), found.projection)
    differ(sum_of(list(tree(filters, codes, top, 2).parts)), found.projection)


def test_the_net_takes_the_strongest_of_the_last_layer_for_its_tree() -> None:
    net = AdaptiveDeconvNet(FOUR)
    image = torch.randn(1, 20, 18)
    found, one = net.tree(image, branching=2), net.decompose(image, 4, 1, values="shrunk")
    assert found.activation == one.activations[0]
    same(found.projection, one.projections[0], 1e-5)
    lower = net.decompose(image, 2, 1).activations[0]
    assert [len(net.tree(image, lower, 3).level(d)) for d in range(3)] == [1, 3, 0]


def test_switch_modes_change_the_way_down() -> None:
    net = AdaptiveDeconvNet(FOUR)
    image = torch.randn(1, 20, 18)
    full, centre = (net.decompose(image, 3, 2, mode) for mode in ("full", "centre"))
    assert full.activations == centre.activations
    differ(centre.superposed, full.superposed)


def test_a_code_of_zeros_is_refused() -> None:
    codes = random_codes(DEEP)
    empty = LayerCode(0 * codes[3].pooled, codes[3].switches, codes[3].block, codes[3].shape)
    with pytest.raises(BadInputError, match="code of layer 3 is all zero, so there is no activation to show"):
        decompose(random_filters(DEEP), Codes((*codes.layers[:2], empty)), 3)
    with pytest.raises(BadInputError, match="code of layer 2 is all zero"):
        AdaptiveDeconvNet(FOUR).decompose(torch.zeros(1, 20, 18), 2)


def test_several_images_or_no_activations_are_refused() -> None:
    filters, codes = random_filters(DEEP), random_codes(DEEP, 2)
    with pytest.raises(BadInputError, match=r"takes one image and at least 1 activation, got 2 and 3"):
        decompose(filters, codes, 3)
    with pytest.raises(BadInputError, match="at least 1 activation, got 1 and 0"):
        decompose(filters, codes.of(0), 3, 0)
    with pytest.raises(BadInputError, match="layer 4 is out of range for codes of layers 1 to 3"):
        decompose(filters, codes.of(0), 4)
    for layer in (1, 3):
        with pytest.raises(BadInputError, match=r"a tree takes one image.*got 2 and 5"):
            tree(filters, codes, Activation(layer, 0, 0, 0, 1.0))


@pytest.mark.parametrize("branching", [0, -1])
def test_a_tree_without_branches_is_refused(branching: int) -> None:
    with pytest.raises(BadInputError, match=f"at least 1 part of each activation, got 1 and {branching}"):
        tree(random_filters(DEEP), random_codes(DEEP), Activation(3, 0, 0, 0, 1.0), branching)


@pytest.mark.parametrize("change", [{"channel": 3}, {"row": -1}, {"col": 100}])
def test_an_activation_outside_its_layer_is_refused(change: dict[str, int]) -> None:
    outside = replace(Activation(3, 0, 0, 0, 1.0), **change)
    with pytest.raises(BadInputError, match=r"map, row and column \(.*\) are out of range for layer 3"):
        tree(random_filters(DEEP), random_codes(DEEP), outside)
