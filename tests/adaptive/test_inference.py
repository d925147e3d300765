"""Inference: the cost falls with each step, ends at the optimum of the lasso, and climbs where steps are too long."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from backlight.adaptive import AdaptiveConfig, AdaptiveDeconvNet, Block, Codes, LayerConfig
from backlight.adaptive.inference import Steps, energy, settle, step
from backlight.adaptive.learning import steps_of
from backlight.adaptive.operators import Reconstruction
from backlight.errors import BadInputError
from replicas import adaptive as replica
from replicas.adaptive_nets import noise, random_filters
from replicas.compare import same, same_bits

CONFIG = AdaptiveConfig(
    (
        LayerConfig(4, filter=3, block=Block(2, 2, 2), weight=3.0),
        LayerConfig(5, filter=3, block=Block(), weight=2.0),
    ),
    size=(12, 11),
    contrast=None,
)
IMAGES = noise(2, 1, 12, 11, seed=3)
WEIGHT = 2.0


def layer_of_two(number: int) -> Reconstruction:
    """Return R of layer 1, or of layer 2 above the switches that layer 1, pooled, infers."""
    filters = random_filters(CONFIG)
    first = Reconstruction(filters[:1])
    if number == 1:
        return first
    how = steps_of(CONFIG.layers[0], float(norm_of(first, 1)))
    code = settle(IMAGES, first, how, 10)
    return Reconstruction(filters, (code.unpooling(),))


def norm_of(whole: Reconstruction, number: int) -> Tensor:
    start = noise(2, *CONFIG.shapes()[number - 1], seed=4)
    return whole.squared_norm(start, 200)[0].max()


def energies(whole: Reconstruction, how: Steps, n_steps: int) -> Tensor:
    """Return (n_steps + 1, n) the cost at zero and after each step."""
    found = [WEIGHT / 2 * IMAGES.flatten(1).square().sum(1)]
    z = None
    for _ in range(n_steps):
        z = step(IMAGES, z, whole, how).maps
        found.append(energy(IMAGES, z, whole, WEIGHT))
    return torch.stack(found)


@pytest.mark.parametrize("number", [1, 2])
def test_the_cost_never_rises_without_pooling(number: int) -> None:
    whole = layer_of_two(number)
    how = steps_of(LayerConfig(5, 3, Block(), WEIGHT), 1.001 * float(norm_of(whole, number)))
    found = energies(whole, how, 60)
    assert (found.diff(dim=0) <= 1e-12 * found[0]).all()
    assert (found[-1] < 0.8 * found[0]).all()


@pytest.mark.parametrize("number", [1, 2])
def test_the_cost_climbs_where_steps_are_three_times_too_long(number: int) -> None:
    whole = layer_of_two(number)
    layer = LayerConfig(5, 3, Block(), WEIGHT, step=3 / (WEIGHT * float(norm_of(whole, number))))
    found = energies(whole, steps_of(layer, 1.0), 40)
    assert (found.diff(dim=0) > 0).any()
    assert (found[-1] > 100 * found[0]).all()


@pytest.mark.parametrize("number", [1, 2])
def test_many_steps_end_at_the_optimum_of_the_lasso(number: int) -> None:
    whole = layer_of_two(number)
    weight = 0.4 if number == 1 else 0.1
    how = steps_of(LayerConfig(5, 3, Block(), weight), 1.001 * float(norm_of(whole, number)))
    z = settle(IMAGES, whole, how, 800).maps
    pull = weight * whole.adjoint(IMAGES - whole(z))
    is_zero = z == 0
    assert 0.5 < float(is_zero.double().mean()) < 0.97
    assert pull[is_zero].abs().max() <= 1 + 1e-6
    torch.testing.assert_close(pull[~is_zero], z[~is_zero].sign(), rtol=0, atol=1e-6)


def test_a_step_goes_along_the_gradient_shrinks_and_pools() -> None:
    whole, how = layer_of_two(1), Steps(0.06, 0.02, Block(2, 2, 2))
    z = noise(2, *CONFIG.shapes()[0], seed=8)
    code = step(IMAGES, z, whole, how)
    gradient = whole.adjoint(whole(z) - IMAGES)
    moved = z - 0.06 * gradient
    shrunk = moved.sign() * (moved.abs() - 0.02).clamp_min(0)
    for own, maps in zip(shrunk.numpy(), code.maps, strict=True):
        values, winners = replica.pool(own, (2, 2, 2))
        same(maps, replica.unpool(values, winners, own.shape, (2, 2, 2)))
    same_bits(step(IMAGES, None, whole, how).maps, step(IMAGES, torch.zeros_like(z), whole, how).maps)


def test_settling_is_steps_from_zero_with_pooling_in_each() -> None:
    whole, how = layer_of_two(1), Steps(0.06, 0.02, Block(2, 2, 2))
    z = None
    for _ in range(4):
        z = step(IMAGES, z, whole, how).maps
    same_bits(settle(IMAGES, whole, how, 4).maps, z)


def test_the_energy_is_the_cost_of_the_paper() -> None:
    whole, z = layer_of_two(2), noise(2, *CONFIG.shapes()[1], seed=5)
    rest = (whole(z) - IMAGES).numpy()
    found = energy(IMAGES, z, whole, 0.7)
    for i in range(2):
        assert float(found[i]) == pytest.approx(
            0.35 * (rest[i] ** 2).sum() + z[i].abs().sum().item(), rel=1e-12
        )


def test_steps_that_are_given_and_steps_that_are_chosen() -> None:
    assert steps_of(LayerConfig(2, weight=3.0, step=0.1), 50.0) == Steps(3.0 * 0.1, 0.1, Block(3, 3, 2))
    chosen = steps_of(LayerConfig(2, weight=3.0), 50.0)
    assert (chosen.length, chosen.shrinkage) == (1 / 50, 1 / 150)


def test_chosen_steps_are_safe_and_given_ones_may_not_be() -> None:
    images = IMAGES.float()
    net = AdaptiveDeconvNet(CONFIG)
    assert all(0.8 < own <= 1 for own in net.check_steps(images))  # estimates ‖R‖ on the way
    norms = net.estimate_norms(images)
    layers = tuple(
        replace(own, step=3 / (own.weight * norm)) for own, norm in zip(CONFIG.layers, norms, strict=True)
    )
    far = AdaptiveDeconvNet(replace(CONFIG, layers=layers))
    assert min(far.check_steps(images)) > 2


def test_the_net_lowers_the_cost_with_each_step() -> None:
    images, first = IMAGES.float(), replace(CONFIG.layers[0], block=Block())
    net = AdaptiveDeconvNet(replace(CONFIG, layers=(first,)))
    costs = [net.energy(images, net.infer(images, steps=n), 1) for n in (1, 2, 5, 10, 20, 40)]
    assert all((after < before).all() for before, after in pairwise(costs))


def test_codes_hold_at_most_one_value_a_block_and_say_how_many() -> None:
    net = AdaptiveDeconvNet(CONFIG)
    codes = net.infer(IMAGES.float())
    code = codes[1]
    block = CONFIG.layers[0].block
    for maps in code.maps.numpy():
        for _, places in replica.blocks(maps.shape, (block.maps, block.rows, block.cols)):
            assert sum(maps[place] != 0 for place in places) <= 1
    same(code.active_share, code.maps.flatten(1).ne(0).double().mean(1), 1e-6)
    assert 0 < float(code.active_share.max()) <= 1 / 8 * 1.3


def test_codes_of_one_image_and_of_several_batches() -> None:
    net = AdaptiveDeconvNet(CONFIG)
    codes = net.infer(IMAGES.float())
    assert len(codes) == 2
    joined = Codes.joined([codes.of(0), codes.of(1)])
    for layer in (1, 2):
        same_bits(joined[layer].pooled, codes[layer].pooled)
        same_bits(joined[layer].switches, codes[layer].switches)
        same_bits(codes.of(1)[layer].maps, codes[layer].maps[1:])


def test_images_and_layers_that_there_are_not_are_refused() -> None:
    codes = AdaptiveDeconvNet(CONFIG).infer(IMAGES.float(), layer=1)
    for layer in (0, 2):
        with pytest.raises(BadInputError, match=f"layer {layer} is out of range for codes of layers 1 to 1"):
            codes[layer]
    for image in (-1, 2):
        with pytest.raises(BadInputError, match=f"image {image} is out of range for the codes of 2 images"):
            codes.of(image)
