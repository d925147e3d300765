"""Renormalisation of filters: what is louder than the limit is scaled to it, and nothing else changes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import backlight
from backlight.errors import BadInputError


def _rms_in_loops(conv: nn.Module) -> list[float]:
    """Return the root mean square of each filter, output by output."""
    weight, groups = conv.weight.detach(), conv.groups
    if not conv.transposed:
        return [float(own.square().mean().sqrt()) for own in weight]
    n_in, n_out = weight.shape[0] // groups, weight.shape[1]
    return [
        float(weight[g * n_in : (g + 1) * n_in, c].square().mean().sqrt())
        for g in range(groups)
        for c in range(n_out)
    ]


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Conv2d(4, 6, 3),
        lambda: nn.Conv2d(4, 6, 3, groups=2),
        lambda: nn.Conv1d(3, 5, 4),
        lambda: nn.ConvTranspose2d(4, 6, 3, groups=2),
        lambda: nn.ConvTranspose2d(4, 5, 2),
    ],
)
def test_loud_filters_get_the_limit_and_others_stay_bit_by_bit(make) -> None:
    torch.manual_seed(0)
    conv = make()
    before = copy.deepcopy(conv)
    old = _rms_in_loops(conv)
    limit = sorted(old)[len(old) // 2]
    assert backlight.renormalise_filters_(nn.Sequential(conv), limit) == {
        "0": sum(own > limit * 1.00001 for own in old)
    }
    for own, now in zip(old, _rms_in_loops(conv), strict=True):
        assert now == pytest.approx(min(own, limit), rel=1e-5)
    assert torch.equal(conv.bias, before.bias)
    # a second call finds nothing to do
    after = conv.weight.clone()
    assert backlight.renormalise_filters_(nn.Sequential(conv), limit) == {"0": 0}
    assert torch.equal(conv.weight, after)
    # turned filters would have another norm; scaled ones point where they pointed
    cosine = nn.functional.cosine_similarity(conv.weight.flatten(), before.weight.flatten(), dim=0)
    assert cosine > 0.5


def test_by_default_the_limit_is_the_papers_and_linear_maps_stay() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 2), nn.Flatten(), nn.Linear(8, 2))
    nn.init.constant_(model[0].weight, 0.5)
    with torch.no_grad():
        model[0].weight[1] = 0.1
        model[2].weight.fill_(3.0)
    assert backlight.renormalise_filters_(model) == {"0": 1}
    assert model[0].weight.flatten().tolist() == pytest.approx([0.1] * 8)
    assert model[2].weight.unique().tolist() == [3.0]


def test_training_goes_on_with_the_same_parameters() -> None:
    conv = nn.Conv2d(1, 1, 1)
    optimiser = torch.optim.SGD(conv.parameters(), 1.0)
    nn.init.constant_(conv.weight, 5.0)
    conv(torch.ones(1, 1, 1, 1)).sum().backward()
    backlight.renormalise_filters_(conv)
    assert conv.weight.item() == pytest.approx(0.1)
    assert conv.weight.requires_grad
    optimiser.step()
    assert conv.weight.item() == pytest.approx(-0.9)


def test_what_cannot_be_scaled_is_said() -> None:
    with pytest.raises(BadInputError, match=r"^limit must be above 0, got 0.0$"):
        backlight.renormalise_filters_(nn.Conv2d(1, 1, 1), 0.0)
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(1, 1, 1)))
    with pytest.raises(BadInputError, match=r"the weights of '0' are computed from others"):
        backlight.renormalise_filters_(model)
