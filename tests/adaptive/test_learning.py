"""Learning: conjugate gradients against a dense solve, unit length, planted filters found again."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from backlight.adaptive import AdaptiveConfig, AdaptiveDeconvNet, Block, LayerConfig, Learning
from backlight.adaptive.inference import step
from backlight.adaptive.learning import (
    CodedBatch,
    conjugate_gradient,
    growing_weight,
    normal_product,
    of_unit_length,
    sparse_weight,
    start_filters,
    steps_of,
)
from backlight.adaptive.operators import Reconstruction, filter_gradient, paint
from replicas.adaptive_nets import DEEP, noise, random_codes, random_filters
from replicas.compare import differ, same

SMALL = AdaptiveConfig(
    (LayerConfig(2, filter=2, block=Block(2, 2, 2)), LayerConfig(3, filter=2, block=Block(2, 2))),
    size=(9, 8),
    contrast=None,
)


class Problem:
    """The filters of layer 2 for given codes: products by the matrix, the right side, and the matrix itself."""

    def __init__(self) -> None:
        self.filters, codes = random_filters(SMALL), random_codes(SMALL, 5)
        self.images = noise(5, 1, *SMALL.size, seed=7)
        self.parts = [
            CodedBatch(self.images[i : i + 1], codes.of(i).below(2), codes.of(i)[2])
            for i in range(len(self.images))
        ]
        self.product = normal_product(lambda: iter(self.parts), self.filters)

    def right_side(self) -> Tensor:
        return sum(
            (filter_gradient(self.whole(part).ascend(part.images), part.code.maps, 2) for part in self.parts),
            torch.zeros_like(self.filters[1]),
        )

    def whole(self, part: CodedBatch, last: Tensor | None = None) -> Reconstruction:
        return Reconstruction((self.filters[0], self.filters[1] if last is None else last), part.below)

    def error(self, last: Tensor) -> float:
        return sum(
            float((self.whole(part, last)(part.code.maps) - part.images).square().sum())
            for part in self.parts
        )

    def dense(self) -> Tensor:
        units = torch.eye(self.filters[1].numel(), dtype=torch.float64)
        return torch.stack([self.product(unit.view_as(self.filters[1])).flatten() for unit in units], 1)


def test_conjugate_gradients_solve_the_normal_equations() -> None:
    problem = Problem()
    matrix, right = problem.dense(), problem.right_side()
    same(matrix, matrix.T)
    assert torch.linalg.eigvalsh(matrix).min() > 0
    expected = torch.linalg.solve(matrix, right.flatten()).view_as(right)
    start = problem.filters[1]
    found = conjugate_gradient(problem.product, start, right - problem.product(start), start.numel())
    same(found, expected, 1e-8)
    differ(conjugate_gradient(problem.product, start, right - problem.product(start), 2), expected)


def test_the_normal_equations_are_those_of_the_squared_error() -> None:
    problem = Problem()
    last = problem.filters[1].clone().requires_grad_()
    total = sum(
        (problem.whole(part, last)(part.code.maps) - part.images).square().sum() for part in problem.parts
    )
    (gradient,) = torch.autograd.grad(total, last)  # type: ignore[arg-type]
    same(2 * (problem.product(problem.filters[1]) - problem.right_side()), gradient)


def test_each_conjugate_gradient_step_lowers_the_squared_error() -> None:
    problem = Problem()
    start, right = problem.filters[1], problem.right_side()
    rest = right - problem.product(start)
    errors = [problem.error(conjugate_gradient(problem.product, start, rest, n)) for n in range(5)]
    assert errors == sorted(errors, reverse=True)
    assert errors[2] < 0.9 * errors[0]


def test_conjugate_gradients_stop_where_there_is_nothing_left_to_do() -> None:
    calls = []

    def product(direction: Tensor) -> Tensor:
        calls.append(1)
        return 2 * direction

    start = noise(3, 1, 2, 2)
    same(conjugate_gradient(product, start, torch.zeros_like(start), 5), start)
    assert calls == []
    same(conjugate_gradient(product, torch.zeros_like(start), start, 5), start / 2)
    assert len(calls) == 1
    same(conjugate_gradient(lambda d: 0 * d, start, start, 5), start)  # no curvature: no step, no NaN


def test_filters_get_unit_length_as_a_whole_or_by_plane() -> None:
    filters = noise(3, 4, 5, 5)
    filters[1, 2] = 0
    whole, planes = (of_unit_length(filters, unit) for unit in ("filter", "plane"))
    same(whole.flatten(1).norm(dim=1), torch.ones(3))
    lengths = torch.ones(3, 4)
    lengths[1, 2] = 0
    same(planes.flatten(2).norm(dim=2), lengths)
    for i in range(3):
        same(whole[i], filters[i] / filters[i].norm())
    assert of_unit_length(0 * filters, "filter").isfinite().all()


@pytest.mark.parametrize("unit, length", [("filter", 1.0), ("plane", 2**0.5)])
def test_learned_filters_have_unit_length(unit: str, length: float) -> None:
    config = AdaptiveConfig(SMALL.layers, size=SMALL.size, contrast=None, unit=unit)  # type: ignore[arg-type]
    net = AdaptiveDeconvNet(config)
    images = noise(4, 1, *SMALL.size).float()
    net.fit(images, Learning(epochs=2))
    assert config.inputs(2) == 1
    for filters in net.filters:
        same(filters.flatten(2).norm(dim=2), torch.ones(filters.shape[:2]), 1e-5)
    generator = torch.Generator().manual_seed(0)
    deep = AdaptiveConfig(DEEP.layers, size=DEEP.size, contrast=None, unit=unit)  # type: ignore[arg-type]
    same(start_filters(deep, 2, generator).flatten(1).norm(dim=1), length * torch.ones(5), 1e-5)


def best_match(found: Tensor, planted: Tensor) -> Tensor:
    """Return for each planted filter its largest absolute normalised correlation with a found one, over all shifts."""
    found, planted = of_unit_length(found, "filter"), of_unit_length(planted, "filter")
    return F.conv2d(found, planted, padding=planted.shape[2] - 1).abs().amax((0, 2, 3))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_planted_filters_are_found_again(seed: int) -> None:
    """Images are sparse sums of 3 filters; which ones is found up to shift, sign and order."""
    generator = torch.Generator().manual_seed(seed)
    planted = torch.randn(3, 1, 5, 5, generator=generator)
    shape = 12, 3, 32, 32
    strength = torch.randn(shape, generator=generator).sign() * (1 + torch.rand(shape, generator=generator))
    z = strength * (torch.rand(shape, generator=generator) < 0.005)
    images = paint(z, of_unit_length(planted, "filter"))
    net = AdaptiveDeconvNet(
        AdaptiveConfig((LayerConfig(8, 11, Block(), weight=2.0),), size=(28, 28), contrast=None), seed
    )
    assert best_match(net.filters[0], planted).max() < 0.5  # chance does not find any
    net.fit(images, Learning(epochs=40, seed=seed, sample=1))
    assert best_match(net.filters[0], planted).min() > 0.95


def test_the_match_of_filters_does_not_depend_on_shift_sign_and_order() -> None:
    planted = torch.randn(2, 1, 5, 5)
    found = torch.zeros(3, 1, 9, 9)
    found[2, 0, 1:6, 4:9] = -2 * planted[0, 0]
    found[0, 0, 3:8, 0:5] = planted[1, 0]
    same(best_match(found, planted), torch.ones(2), 1e-5)
    assert best_match(found[1:], planted)[1] < 0.9


def test_the_first_weight_makes_a_share_of_the_blocks_active() -> None:
    codes, filters = random_codes(SMALL, 4), random_filters(SMALL)
    r = Reconstruction(filters, codes.below(2))
    images, own = noise(4, 1, *SMALL.size, seed=3), SMALL.layers[1]
    for share in (0.1, 0.3, 0.8):
        weight = sparse_weight(images, r, own.block, share)
        code = step(images, None, r, steps_of(replace(own, weight=weight), 5.0))
        active = float((code.pooled != 0).double().mean())
        assert active == pytest.approx(share, abs=1.5 / code.pooled.numel())
    assert sparse_weight(images * 0, r, own.block, 0.5) == inf


def test_the_weight_grows_by_equal_factors_and_never_falls() -> None:
    weights = [growing_weight(0.5, 8.0, epoch, 5) for epoch in range(5)]
    assert weights == pytest.approx([0.5, 1, 2, 4, 8])
    assert [growing_weight(9.0, 8.0, epoch, 3) for epoch in range(3)] == [8, 8, 8]
    assert [growing_weight(inf, 8.0, epoch, 3) for epoch in range(3)] == [8, 8, 8]
    assert growing_weight(0.5, 8.0, 0, 1) == 8


def test_a_training_begins_with_sparse_codes_and_ends_with_the_layer_s_own() -> None:
    images = noise(4, 1, *SMALL.size, seed=3).float().numpy()
    dense, sparse = (
        AdaptiveDeconvNet(SMALL).fit(images, Learning(epochs=4, first_share=share)) for share in (1.0, 0.1)
    )
    assert sparse[0].active_share < 0.5 * dense[0].active_share
    assert sparse[3].active_share > 0.7 * dense[3].active_share
