"""The recipes: the papers' constants, and the place of a layer that chooses among them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from backlight.errors import BadInputError
from backlight.inversion.optimisers import LeakyAdaGrad, Momentum
from backlight.inversion.place import Place
from backlight.inversion.priors import Norm, TotalVariation
from backlight.inversion.recipes import cvpr2015, ijcv2016, recipe_for

CAFFENET = {
    "conv1": 11,
    "relu1": 11,
    "pool1": 19,
    "conv2": 51,
    "pool2": 67,
    "conv3": 99,
    "conv4": 131,
    "conv5": 163,
}

SIGMA = 27098.11571533


def place(pixels: int = 11, stride: int = 4, is_vector: bool = False) -> Place:
    return Place((3, 227, 227), pixels / 227, is_vector, float(stride))


def test_the_paper_of_2014_in_images_of_unit_length() -> None:
    recipe = cvpr2015(place(), strength=10.0)
    norm, variation = recipe.priors
    unit = torch.randn(1, 3, 227, 227, dtype=torch.float64)
    unit = unit / unit.norm()
    grown = float(norm(SIGMA * unit)[0]), float(variation(SIGMA * unit)[0])
    assert grown[0] == pytest.approx(2.157e8 * float(unit.abs().pow(6).sum()), rel=2e-3)
    assert grown[1] == pytest.approx(5.0 * float(TotalVariation(1.0)(unit)[0]), rel=2e-3)
    rates = [(stage.optimiser, stage.steps) for stage in recipe.stages]
    assert [steps for _, steps in rates] == [100, 200, 100]
    for (optimiser, _), rate in zip(rates, (0.004, 0.0004, 0.00004), strict=True):
        assert isinstance(optimiser, Momentum)  # a step of η in x is one of η σ² in σx
        assert optimiser.rate == pytest.approx(rate * SIGMA**2, rel=2e-3)


def test_the_paper_of_2016() -> None:
    recipe = ijcv2016(place(stride=4))
    norm, variation = recipe.priors
    assert isinstance(norm, Norm)
    assert isinstance(variation, TotalVariation)
    assert norm.of == "colours"
    pixels = 227 * 227
    assert norm.weight * pixels == pytest.approx(3.815e-12, rel=1e-3)
    assert variation.weight * pixels == pytest.approx(6.60e-3, rel=1e-3)
    fast, slow = recipe.stages
    assert isinstance(fast.optimiser, LeakyAdaGrad)
    assert fast.optimiser.rate == pytest.approx(pixels * 53.3, rel=1e-3)
    assert (fast.steps, fast.jitter, slow.steps, slow.jitter) == (300, True, 50, False)
    assert recipe.bound == 160


@pytest.mark.parametrize("layer", CAFFENET)
def test_strengths_change_where_the_paper_changes_them(layer: str) -> None:
    """conv1 to conv2 by the first, pool2 to conv4 by the second, conv5 and later by the third (Fig. 6)."""
    bands = {"conv1": 0, "relu1": 0, "pool1": 0, "conv2": 0, "pool2": 1, "conv3": 1, "conv4": 1, "conv5": 2}
    own = place(CAFFENET[layer])
    assert own.band == bands[layer]
    variation = cvpr2015(own).priors[1]
    assert isinstance(variation, TotalVariation)
    assert variation.weight == pytest.approx((0.5, 5, 50)[own.band] / SIGMA**2, rel=2e-3)
    assert ijcv2016(own).weight == (300, 100, 20)[own.band]
    assert ijcv2016(place(227, is_vector=True)).weight == 1
    at_224 = replace(own, shape=(3, 224, 224), field=min(CAFFENET[layer] / 224, 1))
    assert at_224.band == own.band


def test_only_inversions_by_the_paper_of_2016_end_without_jitter() -> None:
    for inverts, jitters in ((True, [True, False]), (False, [True])):
        recipe = recipe_for("ijcv2016", place(), None, inverts)
        assert [stage.jitter for stage in recipe.stages] == jitters


@pytest.mark.parametrize(("stride", "jitter"), [(1, 1), (4, 1), (8, 2), (16, 4), (32, 8)])
def test_jitter_is_a_quarter_of_the_stride(stride: int, jitter: int) -> None:
    assert place(stride=stride).jitter == jitter
    canvas = (227 + jitter - 1) ** 2
    norm = ijcv2016(place(stride=stride)).priors[0]
    assert isinstance(norm, Norm)
    assert norm.weight * canvas == pytest.approx(80.0**-6)  # a mean over the pixels of the canvas


def test_unknown_recipes_and_strengths_are_refused() -> None:
    with pytest.raises(
        BadInputError, match="no recipe 'cvpr2014'; known are default, wide, cvpr2015, ijcv2016"
    ):
        recipe_for("cvpr2014", place())
    with pytest.raises(BadInputError, match="strength of a recipe must be positive, got -1"):
        recipe_for("default", place(), -1.0)


def test_the_default_holds_colours_tighter_where_the_goal_has_no_end() -> None:
    own = place(stride=16)
    inverted, excited = recipe_for("default", own), recipe_for("default", own, inverts=False)
    assert (inverted.bound, excited.bound) == (None, 160)
    assert (inverted.jitters, excited.jitters) == (False, True)
    assert recipe_for("cvpr2015", own, inverts=False) == cvpr2015(own)
