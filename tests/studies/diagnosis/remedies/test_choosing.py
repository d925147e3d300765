"""Each finding has its remedies, and multiples are fitted."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import backlight
from backlight.studies.diagnosis.remedies import multiple_of, remedies_for
from studies.diagnosis.remedies.cut_zoo import SIDE, captured, chain, made

IMAGES = torch.randn(9, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("dead", ["delete"]),
        ("sleeping", ["delete"]),
        ("duplicate", ["merge"]),
        ("loud", ["renormalise", "scale down"]),
        ("aliased", ["low-pass after the rectifier", "low-pass before the convolution"]),
        ("uneven", ["pad evenly", "even input (pad)", "even input (resize)"]),
        ("border", []),
    ],
)
def test_each_finding_has_its_remedies(kind: str, names: list[str]) -> None:
    assert [own.name for own in remedies_for(*captured(chain), kind, "2", [1, 2], IMAGES)] == names


def test_the_last_duplicate_stays_and_the_others_become_its_multiples() -> None:
    model = made(chain)
    with torch.no_grad():
        for c, times in ((0, 3.0), (4, 0.5)):
            for own in (model[0].weight, model[1].running_mean, model[1].running_var):
                own[c] = own[2]
            for own in (model[1].weight, model[1].bias):
                own[c] = times * own[2]
    net = backlight.capture(model, (3, SIDE, SIDE))
    assert multiple_of(net, "2", 4, 2, IMAGES).times == pytest.approx(0.5, rel=1e-5)
    (merge,) = remedies_for(model, net, "duplicate", "2", [0, 4, 2], IMAGES)
    new = merge.apply().model
    torch.testing.assert_close(new(IMAGES), model(IMAGES), rtol=1e-4, atol=1e-5)
    assert new[0].out_channels == 4


def test_a_multiple_is_fitted_by_least_squares() -> None:
    model, net = captured(chain)
    maps = nn.Sequential(*list(model)[:3])(IMAGES).detach().transpose(0, 1).flatten(1)
    wanted = torch.linalg.lstsq(maps[1][:, None].double(), maps[3][:, None].double()).solution
    assert multiple_of(net, "2", 3, 1, IMAGES).times == pytest.approx(float(wanted), rel=1e-5)


def test_of_a_silent_map_everything_is_once() -> None:
    model = made(chain)
    with torch.no_grad():
        model[1].weight[1], model[1].bias[1] = 0, -1
    assert multiple_of(backlight.capture(model, (3, SIDE, SIDE)), "2", 3, 1, IMAGES).times == 1
