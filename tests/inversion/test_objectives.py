"""Objectives: the costs of codes are those of the papers' formulas, image by image, and only the mask's part counts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from backlight.inversion.objectives import InnerProduct, Match, Objective
from replicas.compare import same


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


MASK = (noise(1, 4, 3, 2, seed=9) > 0).double()


@pytest.mark.parametrize("mask", [None, MASK], ids=["all", "a part"])
@pytest.mark.parametrize("n_targets", [1, 3])
def test_costs_are_those_of_the_formulas(mask: Tensor | None, n_targets: int) -> None:
    codes, targets = noise(3, 4, 3, 2), noise(n_targets, 4, 3, 2, seed=1)
    m = torch.ones(4, 3, 2).double() if mask is None else mask[0]
    match, product = Match(targets, mask), InnerProduct(targets, mask)
    for i, code in enumerate(codes):
        target = targets[i % n_targets]
        squares, energy = (((code - target) * m) ** 2).sum(), ((target * m) ** 2).sum()
        same(match(codes)[i], squares / energy)
        same(match.energy[i % n_targets], energy)
        same(product(codes)[i], -(code * target * m).sum())


def test_vectors_are_codes_too() -> None:
    codes, targets = noise(2, 5), noise(2, 5, seed=1)
    same(Match(targets)(codes), (codes - targets).square().sum(1) / targets.square().sum(1))
    same(InnerProduct(targets)(codes), -(codes * targets).sum(1))


def test_a_match_costs_nothing_where_it_is_reached_and_one_for_a_code_of_zeros() -> None:
    targets = noise(2, 4, 3, 2)
    found = Match(targets, MASK)
    assert found(targets + 5 * (1 - MASK)).tolist() == [0.0, 0.0]  # outside of the mask anything may be
    same(found(0 * targets), torch.ones(2))


@pytest.mark.parametrize("kind", [Match, InnerProduct])
def test_a_cost_has_a_gradient_in_its_own_code_and_in_the_masked_part_alone(
    kind: type[Match] | type[InnerProduct],
) -> None:
    codes, objective = noise(2, 4, 3, 2).requires_grad_(), kind(noise(2, 4, 3, 2, seed=1), MASK)
    assert isinstance(objective, Objective)
    (gradient,) = torch.autograd.grad(objective(codes)[1], codes)
    assert not gradient[0].any()
    assert torch.equal(gradient[1] != 0, MASK[0] != 0)


def test_codes_of_another_shape_are_refused() -> None:
    with pytest.raises(RuntimeError, match="must match the size of tensor"):
        Match(noise(1, 4, 3, 2))(noise(1, 4, 3, 3))
