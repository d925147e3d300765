"""The refit of codes: the least squares where they are not zero, and nothing else about them changes."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from torch import Tensor

from backlight.adaptive import (
    CODE_VALUES,
    AdaptiveConfig,
    AdaptiveDeconvNet,
    Block,
    Codes,
    CodeValues,
    HitSearch,
    LayerCode,
    LayerConfig,
    find_hits,
)
from backlight.adaptive.inference import REFIT_STEPS, refit, settle
from backlight.adaptive.learning import steps_of
from backlight.adaptive.operators import Reconstruction
from backlight.errors import BadInputError
from replicas import adaptive as replica
from replicas.adaptive_nets import noise, random_filters
from replicas.compare import differ, same, same_bits

SIZES = (2, 2, 2), (2, 3, 2)  # maps, rows, columns of the blocks
CONFIG = AdaptiveConfig(
    tuple(
        LayerConfig(maps, filter=3, block=Block(rows, cols, deep), weight=weight)
        for maps, weight, (deep, rows, cols) in zip((4, 5), (0.5, 0.1), SIZES, strict=True)
    ),
    size=(12, 11),
    contrast=None,
    steps=8,
)
FILTERS = random_filters(CONFIG)
IMAGES = noise(3, 1, 12, 11, seed=3)
MANY = 400
LAYERS = pytest.mark.parametrize("layer", [1, 2])


@cache
def inferred() -> Codes:
    """Return the published codes of float64 images in both layers."""
    codes = Codes(())
    for layer, own in enumerate(CONFIG.layers, start=1):
        whole = Reconstruction(FILTERS[:layer], codes.below(layer))
        start = noise(3, *CONFIG.shapes()[layer - 1], seed=4)
        norm = 1.1 * float(whole.squared_norm(start, 50, own.block)[0].max())
        codes = codes.then(settle(IMAGES, whole, steps_of(own, norm), CONFIG.steps))
    return codes


def case(layer: int) -> tuple[LayerCode, Reconstruction]:
    codes = inferred()
    return codes[layer], Reconstruction(FILTERS[:layer], codes.below(layer))


def errors(code: LayerCode, whole: Reconstruction) -> Tensor:
    return (whole(code.maps) - IMAGES).flatten(1).norm(dim=1)


def of_loops(code: LayerCode, layer: int, image: int) -> np.ndarray:
    """Return the feature maps of one image, refitted by a dense least squares over a matrix made in loops."""
    filters = [own.numpy() for own in FILTERS[:layer]]
    below = [own.maps[image].numpy() for own in inferred().layers[: layer - 1]]
    winners = [replica.pool(maps, SIZES[i])[1] for i, maps in enumerate(below)]
    shapes = [maps.shape for maps in below]
    return replica.refitted(
        IMAGES[image].numpy(), code.maps[image].numpy(), filters, winners, shapes, SIZES[: layer - 1]
    )


@LAYERS
def test_many_steps_give_the_dense_least_squares(layer: int) -> None:
    code, whole = case(layer)
    found = refit(IMAGES, code, whole, MANY)
    for image in range(len(IMAGES)):
        same(found.maps[image], of_loops(code, layer, image), 1e-7)


@LAYERS
def test_many_steps_solve_the_normal_equations_on_the_support(layer: int) -> None:
    code, whole = case(layer)
    is_held = code.maps != 0

    def pull(own: LayerCode) -> Tensor:
        return whole.adjoint(IMAGES - whole(own.maps))

    before, after = pull(code), pull(refit(IMAGES, code, whole, MANY))
    assert after[is_held].abs().max() < 1e-9 * before[is_held].abs().max()
    assert after[~is_held].abs().max() > 0.1  # more places would reconstruct better: they are not taken


@LAYERS
def test_zeros_and_switches_stay(layer: int) -> None:
    code, whole = case(layer)
    share = float((code.pooled != 0).double().mean())
    assert 0.1 < share < 0.9
    for n_steps in (1, REFIT_STEPS, MANY):
        found = refit(IMAGES, code, whole, n_steps)
        same_bits(found.switches, code.switches)
        same_bits(found.pooled != 0, code.pooled != 0)
        assert (found.block, found.shape) == (code.block, code.shape)
        differ(found.pooled, code.pooled)


@LAYERS
def test_no_step_raises_the_error_of_any_image(layer: int) -> None:
    code, whole = case(layer)
    found = [errors(refit(IMAGES, code, whole, n), whole) for n in (0, 1, 2, 3, 5, 8, 13, 21, 34, 55, MANY)]
    for before, after in pairwise(found):
        assert (after <= before * (1 + 1e-12)).all()
    for before, after in pairwise(found[:5]):
        assert (after < 0.999 * before).all()


def test_no_step_leaves_the_values_as_they_were() -> None:
    code, whole = case(2)
    same_bits(refit(IMAGES, code, whole, 0).pooled, code.pooled)


def test_values_that_are_solved_stay() -> None:
    code, whole = case(1)
    solved = refit(IMAGES, code, whole, MANY)
    same(refit(IMAGES, solved, whole, MANY).pooled, solved.pooled, 1e-9)


def test_values_keep_no_sign() -> None:
    code, whole = case(1)
    found = refit(IMAGES, code, whole, MANY).maps
    turned = (found * code.maps < 0).nonzero().tolist()
    assert turned
    for image in {own[0] for own in turned}:
        expected = of_loops(code, 1, image)
        assert all(found[*own] * expected[*own[1:]] > 0 for own in turned if own[0] == image)


@LAYERS
def test_images_do_not_depend_on_each_other(layer: int) -> None:
    code, whole = case(layer)
    # the second image is silent: all of its values are zero, and they stay so
    silent = LayerCode(code.pooled.clone(), code.switches, code.block, code.shape)
    silent.pooled[1] = 0
    found = refit(IMAGES, silent, whole, REFIT_STEPS).pooled
    assert not found[1].any()
    for image in (0, 2):
        below = inferred().of(image).below(layer)
        alone = LayerCode(code.pooled[[image]], code.switches[[image]], code.block, code.shape)
        one = refit(IMAGES[[image]], alone, Reconstruction(FILTERS[:layer], below), REFIT_STEPS)
        same(found[[image]], one.pooled, 1e-11)


def network() -> tuple[AdaptiveDeconvNet, Tensor]:
    """Return a network of filters of length 1, which take larger weights, and images."""
    layers = tuple(replace(own, weight=weight) for own, weight in zip(CONFIG.layers, (1.5, 0.7), strict=True))
    net, images = AdaptiveDeconvNet(replace(CONFIG, layers=layers), seed=2), IMAGES.float()
    net.estimate_norms(images)
    return net, images


def test_shrunk_values_are_those_of_the_published_inference_bit_for_bit() -> None:
    net, images = network()
    found, codes = net.infer(images, values="shrunk"), Codes(())
    for layer, own in enumerate(net.config.layers, start=1):
        how = steps_of(own, float(net.squared_norms[layer - 1]))
        whole = Reconstruction(net.filters[:layer], codes.below(layer))
        codes = codes.then(settle(images, whole, how, CONFIG.steps))
        assert codes[layer].pooled.any()
        same_bits(found[layer].pooled, codes[layer].pooled)
        same_bits(found[layer].switches, codes[layer].switches)


def test_inference_refits_every_layer_above_the_switches_of_the_published_codes() -> None:
    net, images = network()
    shrunk, found = net.infer(images, values="shrunk"), net.infer(images)
    for layer in (1, 2):
        whole = Reconstruction(net.filters[:layer], shrunk.below(layer))
        same_bits(found[layer].switches, shrunk[layer].switches)
        same_bits(found[layer].pooled, refit(images, shrunk[layer], whole, REFIT_STEPS).pooled)
        same_bits(found[layer].pooled, net.infer(images, values="refitted")[layer].pooled)
        before, after = (
            (net.reconstruct(own, layer) - images).flatten(1).norm(dim=1) for own in (shrunk, found)
        )
        assert (after < 0.99 * before).all()


@pytest.mark.parametrize("values", CODE_VALUES)
def test_decompositions_trees_and_hits_are_of_the_values_asked_for(values: CodeValues) -> None:
    net, images = network()
    # the strongest of each code, whose value shows which codes were used
    maps = net.infer(images[:1], values=values)[2].maps[0]
    strongest = float(maps.flatten()[maps.abs().argmax()])
    parts = net.decompose(images[0], 2, 1, values=values)
    assert parts.activations[0].value == strongest
    assert net.tree(images[0], branching=2, values=values).activation.value == strongest
    hits = find_hits(net, images[:1].numpy(), HitSearch((2,), top=1, values=values)).of(2)
    assert max((own.hits[0].value for own in hits if own.hits), key=abs) == pytest.approx(strongest, rel=1e-5)
    # decompositions are refitted unless asked otherwise; trees and hits, of single activations, are not
    default = net.decompose(images[0], 2, 1).activations[0].value
    assert (default == strongest) == (values == "refitted")
    assert (net.tree(images[0], branching=2).activation.value == strongest) == (values == "shrunk")
    plain = find_hits(net, images[:1].numpy(), HitSearch((2,), top=1)).of(2)
    are_same = [own.hits[0].value for own in plain if own.hits] == [
        own.hits[0].value for own in hits if own.hits
    ]
    assert are_same == (values == "shrunk")


@pytest.mark.usefixtures("untyped")
def test_unknown_values_are_refused() -> None:
    net, images = network()
    message = r"^unknown values of codes 'published'; known are refitted, shrunk$"
    for refused in (
        lambda: net.infer(images, values="published"),  # type: ignore[arg-type]
        lambda: net.decompose(images[0], 1, values="published"),  # type: ignore[arg-type]
        lambda: HitSearch(values="published"),  # type: ignore[arg-type]
    ):
        with pytest.raises(BadInputError, match=message):
            refused()
