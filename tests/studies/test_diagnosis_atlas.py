"""An atlas alone is diagnosed as far as its statistics, hits and filters go."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import backlight
from backlight import Preprocessing
from backlight.atlas import Atlas
from backlight.errors import BadInputError
from backlight.images import SequenceSource
from backlight.studies.diagnosis import DiagnosisConfig, run
from backlight.studies.diagnosis.from_atlas import run_on_atlas
from studies.diagnosed import SIDE, faulty, images

PLAIN = Preprocessing(None, (SIDE, SIDE), (0.5,) * 3, (0.25,) * 3)


def broken(model: nn.Sequential) -> None:
    """Plant a dead map, a loud filter in the first layer and a border detector in the second."""
    model[0].weight[6], model[0].bias[6] = 0, 0
    model[0].weight[8] *= 20
    weight = torch.zeros_like(model[3].weight[3])
    weight[:6, 1, 1], weight[:6, 0, 1] = 1, -1
    model[3].weight[3] = weight
    model[4].running_mean[3], model[4].running_var[3] = 0, 1


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    """Return an atlas of a network with three faults, over 80 pictures."""
    pictures = ((images(80) / 8 + 0.5).clamp(0, 1) * 255).byte().permute(0, 2, 3, 1).numpy()
    net = backlight.capture(faulty(broken), (3, SIDE, SIDE), PLAIN)
    path = tmp_path_factory.mktemp("diagnosed") / "a.atlas"
    return backlight.build(net, SequenceSource(list(pictures)), path, ["1", "5"], top=20)


def test_an_atlas_tells_dead_maps_loud_filters_and_where_hits_lie(atlas: Atlas) -> None:
    result = run_on_atlas(atlas)
    assert result.maps_with("dead", "1") == {6}
    assert result.maps_with("loud", "1") == {8}
    assert result.maps_with("border", "5") == {3}
    assert result.maps_with("dead", "5") == set()
    assert (result.n_images, result.layers) == (80, ("1", "5"))


def test_an_atlas_counts_images_as_the_network_does(atlas: Atlas) -> None:
    net = backlight.capture(faulty(broken), (3, SIDE, SIDE), PLAIN)
    pictures = ((images(80) / 8 + 0.5).clamp(0, 1) * 255).byte().permute(0, 2, 3, 1).numpy()
    both = run_on_atlas(atlas), run(net, SequenceSource(list(pictures)))
    counted = [
        [(own.kind, own.channels, own.value, own.p) for own in found.of("dead", "5")] for found in both
    ]
    assert counted[0] == counted[1]


def test_what_needs_the_model_is_listed(atlas: Atlas) -> None:
    lacking = {own.kind: own.reason for own in run_on_atlas(atlas, ["5"]).lacking}
    for kind in ("always_on", "duplicate", "aliased", "checkerboard", "uneven", "field"):
        assert lacking[kind] == "an atlas does not tell; give the model and images"
    assert "what a batch norm makes of deeper filters" in lacking["loud"]


def test_too_few_images_and_hits_say_so(atlas: Atlas) -> None:
    strict = run_on_atlas(atlas, ["5"], DiagnosisConfig(rare=0.01))
    assert any("give at least 299" in own.reason for own in strict.lacking)


def test_an_atlas_without_maps_is_refused(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4), nn.ReLU())
    net = backlight.capture(model, (3, 8, 8), Preprocessing(None, (8, 8), (0.5,) * 3, (0.5,) * 3))
    pictures = list((torch.rand(4, 8, 8, 3) * 255).byte().numpy())
    flat = backlight.build(net, SequenceSource(pictures), tmp_path / "flat.atlas", [net.layers[-1].name])
    with pytest.raises(BadInputError, match="none of the layers has feature maps"):
        run_on_atlas(flat)
