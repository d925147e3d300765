"""The network as a whole: codes by layer, alone or in batches, and reconstructions from parts of the switches."""

from __future__ import annotations

import doctest

import pytest
import torch
from torch import Tensor

from backlight.adaptive import (
    PRESETS,
    SWITCH_MODES,
    AdaptiveConfig,
    AdaptiveDeconvNet,
    Block,
    Codes,
    LayerConfig,
    Learning,
    SwitchMode,
)
from backlight.adaptive import config as config_module
from backlight.adaptive import net as net_module
from backlight.errors import BadInputError
from replicas import adaptive as replica
from replicas.compare import differ, same, same_bits

CONFIG = AdaptiveConfig(
    (
        LayerConfig(4, filter=3, block=Block(2, 2, 2), weight=3.0),
        LayerConfig(3, filter=3, block=Block(2, 2, 3), weight=1.0),
    ),
    size=(12, 11),
    contrast=None,
    steps=4,
)


@pytest.fixture
def net() -> AdaptiveDeconvNet:
    """Return a network of random filters."""
    return AdaptiveDeconvNet(CONFIG)


def images(n: int = 3, seed: int = 0) -> Tensor:
    return torch.randn(n, 1, 12, 11, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("module", [net_module, config_module], ids=lambda m: m.__name__)
def test_examples_run(module: object) -> None:
    failed, attempted = doctest.testmod(module)  # type: ignore[arg-type]
    assert failed == 0
    assert attempted > 0


def test_the_paper_is_the_default() -> None:
    paper = AdaptiveDeconvNet()
    assert paper.config == PRESETS["paper"]
    assert [tuple(own.shape) for own in paper.filters] == [
        (15, 1, 7, 7),
        (50, 5, 7, 7),
        (100, 25, 7, 7),
        (150, 50, 7, 7),
    ]


def test_filters_are_random_by_the_seed_and_of_unit_length(net: AdaptiveDeconvNet) -> None:
    same_bits(net.filters[1], AdaptiveDeconvNet(CONFIG, seed=0).filters[1])
    differ(AdaptiveDeconvNet(CONFIG, seed=1).filters[1], net.filters[1])
    same(net.filters[0].flatten(1).norm(dim=1), torch.ones(4), 1e-6)


def test_codes_have_the_shapes_of_the_configuration(net: AdaptiveDeconvNet) -> None:
    codes = net.infer(images())
    for layer in (1, 2):
        assert tuple(codes[layer].maps.shape) == (3, *CONFIG.shapes()[layer - 1])
        assert tuple(codes[layer].pooled.shape) == (3, *CONFIG.pooled_shapes()[layer - 1])
        assert codes[layer].switches.dtype == torch.uint8
    assert net.reconstruct(codes).shape == (3, 1, 12, 11)


def test_images_may_have_another_size(net: AdaptiveDeconvNet) -> None:
    codes = net.infer(torch.randn(1, 1, 17, 20))
    assert tuple(codes[2].maps.shape[1:]) == CONFIG.shapes((17, 20))[1]
    assert net.reconstruct(codes, 1).shape == (1, 1, 17, 20)


def test_lower_layers_do_not_depend_on_how_many_are_inferred(net: AdaptiveDeconvNet) -> None:
    whole, lower = net.infer(images()), net.infer(images(), layer=1)
    assert (len(whole.layers), len(lower.layers)) == (2, 1)
    same_bits(whole[1].pooled, lower[1].pooled)
    same_bits(whole[1].switches, lower[1].switches)
    same_bits(net.reconstruct(whole, 1), net.reconstruct(lower))
    differ(net.reconstruct(whole), net.reconstruct(lower))


def test_codes_do_not_depend_on_the_batch(net: AdaptiveDeconvNet) -> None:
    batch = images(19)  # more than are inferred at once
    net.estimate_norms(batch)
    whole = net.infer(batch)
    parts = Codes.joined([net.infer(part) for part in torch.split(batch, 7)])
    alone = Codes.joined([net.infer(image) for image in batch])
    for other in (parts, alone):
        assert len(other) == 19
        for layer in (1, 2):
            same(other[layer].maps, whole[layer].maps, 1e-4)


def test_norms_once_estimated_stay(net: AdaptiveDeconvNet) -> None:
    net.infer(images())
    before = net.squared_norms.clone()
    assert (before > 0).all()
    net.infer(10 * images(seed=1))
    same_bits(net.squared_norms, before)


def test_more_steps_reconstruct_better(net: AdaptiveDeconvNet) -> None:
    batch = images()
    rests = [float((net.reconstruct(net.infer(batch, 1, n), 1) - batch).norm()) for n in (1, 5, 20)]
    assert rests == sorted(rests, reverse=True)
    same_bits(net.infer(batch).layers[1].pooled, net.infer(batch, steps=4).layers[1].pooled)


def test_switches_that_know_less_reconstruct_otherwise_and_worse(net: AdaptiveDeconvNet) -> None:
    net.fit(images(8), Learning(epochs=4, sample=1))
    batch = images(seed=5)
    codes = net.infer(batch, 1, 20)
    found = {mode: net.reconstruct(codes, 1, mode) for mode in SWITCH_MODES}
    rests = {mode: float((maps - batch).norm()) for mode, maps in found.items()}
    assert min(rests, key=rests.__getitem__) == "full"
    for i, one in enumerate(SWITCH_MODES):
        for other in SWITCH_MODES[i + 1 :]:
            differ(found[one], found[other])


@pytest.mark.parametrize("mode", SWITCH_MODES)
def test_all_switches_on_the_way_down_are_used_in_the_same_way(
    net: AdaptiveDeconvNet, mode: SwitchMode
) -> None:
    codes = net.infer(images(1))
    maps = codes[2].pooled[0].numpy()
    for layer in (2, 1):
        block, shape = CONFIG.layers[layer - 1].block, codes[layer].shape
        sizes = block.maps, block.rows, block.cols
        winners = {}
        for cell, places in replica.blocks(shape, sizes):
            number = int(codes[layer].switches[0][cell])
            winners[cell] = next(own for own in places if replica.switch(own, sizes) == number)
        unpooled = replica.unpool(maps, winners, shape, sizes, mode)
        maps = replica.paint(unpooled, net.filters[layer - 1].numpy())
    same(net.reconstruct(codes, 2, mode)[0], maps, 1e-5)


def test_the_energy_is_that_of_the_layer(net: AdaptiveDeconvNet) -> None:
    batch = images()
    codes = net.infer(batch)
    for layer, weight in ((1, 3.0), (2, 1.0)):
        rest = (net.reconstruct(codes, layer) - batch).flatten(1).square().sum(1)
        same(
            net.energy(batch, codes, layer),
            weight / 2 * rest + codes[layer].maps.flatten(1).abs().sum(1),
            1e-5,
        )


def test_chosen_steps_are_safe_after_learning(net: AdaptiveDeconvNet) -> None:
    net.fit(images(8), Learning(epochs=2))
    assert all(own <= 1 for own in net.check_steps(images(8)))


def test_a_network_keeps_its_filters_as_buffers(net: AdaptiveDeconvNet) -> None:
    assert sorted(net.state_dict()) == ["filters1", "filters2", "squared_norms"]
    assert list(net.parameters()) == []
    assert not net.infer(images().requires_grad_())[1].pooled.requires_grad


def test_images_of_zeros_have_a_code_of_zeros(net: AdaptiveDeconvNet) -> None:
    codes = net.infer(torch.zeros(1, 1, 12, 11))
    assert all(not code.pooled.any() for code in codes.layers)
    assert not net.reconstruct(codes).any()


def test_layers_steps_and_modes_that_there_are_not_are_refused(net: AdaptiveDeconvNet, untyped: None) -> None:
    batch = images()
    codes = net.infer(batch)
    for layer in (0, 3, -1):
        with pytest.raises(
            BadInputError, match=f"layer {layer} is out of range for a network of 2 layers, from 1"
        ):
            net.infer(batch, layer)
        with pytest.raises(BadInputError, match=f"layer {layer} is out of range"):
            net.energy(batch, codes, layer)
        with pytest.raises(BadInputError, match=f"layer {layer} is out of range for codes of layers 1 to 2"):
            net.reconstruct(codes, layer)
    with pytest.raises(BadInputError, match="inference takes at least 1 step, got 0"):
        net.infer(batch, steps=0)
    with pytest.raises(BadInputError, match=r"unknown use of switches 'some'; known are full, .*, average"):
        net.reconstruct(codes, switches="some")  # type: ignore[arg-type]
    with pytest.raises(BadInputError, match="a decomposition takes one image"):
        net.decompose(batch, 2)
    with pytest.raises(BadInputError, match="layer 5 is out of range"):
        net.decompose(batch[:1], 5)
