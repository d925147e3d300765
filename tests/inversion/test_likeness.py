"""Maximised pictures compared with natural hits: a silent circuit is found, and a sound map is not accused."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from backlight import DECONVNET, GRADIENT, GUIDED, Unit, capture, project, scan
from backlight.errors import BadInputError
from backlight.inversion import Likeness, likeness_of, maximise
from backlight.inversion.likeness import UNLIKE
from backlight.operators.ruleset import MASKED
from replicas.silent import SIDE, Silent, plant

FEW, ALL = range(4), range(20)


@cache
def planted(seed: int) -> Silent:
    return plant(seed)


def likeness(own: Silent, is_fooled: bool) -> Likeness:
    net = own.fooled if is_fooled else own.sound
    found = maximise(net, own.unit)
    return likeness_of(net, torch.from_numpy(found.images[found.best]), own.unit, *own.hits)


def check_flagged(seed: int) -> None:
    own = planted(seed)
    found = likeness(own, is_fooled=True)
    assert found.is_unlike
    # and where: at every level that the circuit passes, by its map
    for layer in found.layers[own.level :]:
        assert own.channel in layer.silent
        assert layer.carried >= UNLIKE
    for layer in found.layers[: own.level]:
        assert layer.carried < UNLIKE


def check_not_accused(seed: int) -> None:
    found = likeness(planted(seed), is_fooled=False)
    assert found.value > 0
    assert not found.is_unlike


@pytest.mark.parametrize("seed", FEW)
def test_a_silent_circuit_is_flagged_where_it_is(seed: int) -> None:
    check_flagged(seed)


@pytest.mark.parametrize("seed", FEW)
def test_the_same_map_without_it_is_not_accused(seed: int) -> None:
    check_not_accused(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", ALL)
def test_silent_circuits_are_flagged_in_20_of_20(seed: int) -> None:
    check_flagged(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", ALL)
def test_of_20_sound_maps_none_is_accused(seed: int) -> None:
    check_not_accused(seed)


@pytest.mark.parametrize("seed", ALL)
def test_a_silent_circuit_changes_no_hit(seed: int) -> None:
    own = planted(seed)
    with torch.no_grad():
        kept, changed = (net.features(["5"])(own.images)[0] for net in (own.sound, own.fooled))
    assert torch.equal(kept, changed)
    assert kept[:, own.unit.channel].max() > 0


def test_a_scan_of_a_fooled_network_gives_the_same_hits() -> None:
    own = planted(0)
    kept, changed = (scan(net, own.images, ["5"]).to_arrays() for net in (own.sound, own.fooled))
    assert kept.keys() == changed.keys()
    assert all(np.array_equal(kept[name], changed[name]) for name in kept)


@pytest.mark.parametrize("seed", FEW)
@pytest.mark.parametrize("rules", [GUIDED, MASKED, GRADIENT], ids=lambda rules: rules.name)
def test_a_silent_circuit_changes_no_projection_that_asks_what_was_active(seed: int, rules) -> None:
    own = planted(seed)
    images, units = own.hits
    kept, changed = (project(net, images, units, rules) for net in (own.sound, own.fooled))
    assert torch.equal(kept, changed)
    assert kept.abs().max() > 0


@pytest.mark.parametrize("seed", FEW)
def test_the_deconvnet_draws_a_silent_circuit_in_every_hit(seed: int) -> None:
    own = planted(seed)
    images, units = own.hits
    kept, changed = (project(net, images, units, DECONVNET) for net in (own.sound, own.fooled))
    assert ((kept - changed).flatten(1).norm(dim=1) > kept.flatten(1).norm(dim=1)).all()


class Summed(nn.Module):
    """Two maps of single pixels, 2 r and 3 g, and a unit that adds them up."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 2, 1, bias=False), nn.Conv2d(2, 1, 3, padding=1, bias=False)
        self.inside, self.after = nn.ReLU(), nn.ReLU()
        with torch.no_grad():
            self.first.weight.copy_(torch.diag(torch.tensor([2.0, 3.0]))[:, :, None, None])
            self.second.weight.fill_(0.0)
            self.second.weight[:, :, 1, 1] = 1.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (n, 1, h, w) of (n, 2, h, w)."""
        return self.after(self.second(self.inside(self.first(x))))


def pixels(*values: tuple[float, float]) -> torch.Tensor:
    """Return images (n, 2, 5, 5) that are zero but for the middle."""
    images = torch.zeros(len(values), 2, 5, 5)
    images[:, :, 2, 2] = torch.tensor(values)
    return images


MIDDLE = Unit("after", 0, 2, 2)


def test_what_silent_maps_carry_is_what_the_unit_loses_without_them() -> None:
    net = capture(Summed(), (2, 5, 5))
    hits = pixels((1, 0), (2, -1), (0.5, 0.0))
    found = likeness_of(net, pixels((3, 4))[0], MIDDLE, hits, [MIDDLE] * 3)
    assert (found.value, found.n_hits) == (18.0, 3)
    (layer,) = found.layers
    assert (layer.layer, layer.silent) == ("inside", (1,))
    assert layer.carried == pytest.approx(12 / 18)
    assert found.is_unlike
    assert found.least == layer


def test_a_map_that_one_hit_excites_is_not_silent_however_much_the_picture_exceeds_it() -> None:
    net = capture(Summed(), (2, 5, 5))
    hits = pixels((1, 0), (2, 0), (1, 0.2))
    found = likeness_of(net, pixels((3, 4))[0], MIDDLE, hits, [MIDDLE] * 3)
    assert (found.layers[0].silent, found.layers[0].carried) == ((), 0.0)
    assert not found.is_unlike
    faint = pixels((1, 0), (2, 0), (1, 0.02))  # less than a hundredth of what the picture has
    found = likeness_of(net, pixels((3, 4))[0], MIDDLE, faint, [MIDDLE] * 3)
    assert found.layers[0].silent == (1,)
    assert found.layers[0].carried == pytest.approx((12 - 0.06) / 18)


def test_only_what_the_units_see_counts() -> None:
    net = capture(Summed(), (2, 5, 5))
    hits = pixels((1, 0), (2, 0), (1, 0))
    hits[:, 1, 0, 0] = 9.0  # excites the second map, outside the field of the middle unit
    found = likeness_of(net, pixels((3, 4))[0], MIDDLE, hits, [MIDDLE] * 3)
    assert found.layers[0].silent == (1,)
    corner = Unit("after", 0, 1, 1)  # sees it, though it is not the unit of the picture
    hits[:, 0, 1, 1] = 1.0
    found = likeness_of(net, pixels((3, 4))[0], MIDDLE, hits, [corner] * 3)
    assert found.layers[0].silent == ()


def test_nothing_lies_below_the_first_layer() -> None:
    net = capture(Summed(), (2, 5, 5))
    first = Unit("inside", 1, 2, 2)
    found = likeness_of(net, pixels((3, 4))[0], first, pixels((0, 1), (0, 1), (0, 1)), [first] * 3)
    assert (found.layers, found.least, found.is_unlike) == ((), None, False)


@pytest.mark.parametrize(
    ("picture", "units", "text"),
    [
        ((3, 4), [MIDDLE] * 2, "at least 3 hits"),
        ((3, 4), [Unit("inside", 0, 2, 2)] * 3, "those of another map"),
        ((3, 4), [Unit("after", 0, 9, 9)] * 3, "out of range"),
        ((-3, -4), [MIDDLE] * 3, "does not excite"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    picture: tuple[float, float], units: list[Unit], text: str
) -> None:
    net = capture(Summed(), (2, 5, 5))
    hits = pixels(*[(1.0, 1.0)] * len(units))
    with pytest.raises(BadInputError, match=text):
        likeness_of(net, pixels(picture)[0], MIDDLE, hits, units)


def test_the_circuits_lie_at_both_levels() -> None:
    assert {planted(seed).level for seed in FEW} == {0, 1}
    assert planted(0).images.shape[2:] == (SIDE, SIDE)
