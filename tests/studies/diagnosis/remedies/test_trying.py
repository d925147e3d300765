"""Trying: what a diagnosis found is put right where it can be, and measured on images that it was not made on."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import backlight
from backlight.network import Network
from backlight.studies import diagnosis
from backlight.studies.classes import classes_of_labels
from backlight.studies.diagnosis import Diagnosis, DiagnosisConfig
from backlight.studies.diagnosis.inputs import Inputs
from backlight.studies.diagnosis.remedies import TrialConfig, load_changed, try_found
from backlight.studies.diagnosis.remedies.trying import names_of_files

SIDE, N = 12, 160
CONFIG = DiagnosisConfig(n_images=80)
UNTIMED = TrialConfig(rounds=0)


def make_model() -> nn.Sequential:
    """Return a network of two layers: map 1 of the first is dead, map 5 is twice map 3; map 2 of the second is dead."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 6, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 4),
    ).eval()  # fmt: skip
    with torch.no_grad():
        for layer, channel in ((model[0], 1), (model[2], 2)):
            layer.weight[channel], layer.bias[channel] = 0, 0
        model[0].weight[5], model[0].bias[5] = 2 * model[0].weight[3], 2 * model[0].bias[3]
    return model


def inputs(n: int = N) -> Tensor:
    return torch.randn(n, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def found() -> tuple[nn.Sequential, Network, Diagnosis]:
    model = make_model()
    net = backlight.capture(model, (3, SIDE, SIDE))
    return model, net, diagnosis.run(net, inputs(), ["1", "3"], CONFIG)


def test_what_was_found_is_gone_afterwards_and_no_answer_changes(
    found: tuple[nn.Sequential, Network, Diagnosis],
) -> None:
    model, net, result = found
    before = copy.deepcopy(model.state_dict())
    assert (result.maps_with("dead", "1"), result.maps_with("dead", "3")) == ({1}, {2})
    trial, models = try_found(result, model, net, inputs(), 50, UNTIMED)
    assert trial is not None
    by_name = {
        own.remedy: (own, row) for own, row in zip(trial.tried, trial.summary()["remedies"], strict=True)
    }
    for layer in ("1", "3"):
        own, row = by_name[f"dead map in {layer}: delete"]
        assert own.is_done
        assert (row["measure_before"], row["measure_after"]) == (1, 0)
        assert (row["after"], row["change"]) == (1, 0)
    pair, row = next(
        found for name, found in by_name.items() if name.startswith("near-duplicate maps 3 and 5 in 1")
    )
    assert pair.is_done
    assert row["change"] == 0
    assert (row["measure_before"], row["measure_after"]) == (2, 0)
    all_dead = models["all dead maps: delete"]
    assert (all_dead[0].out_channels, all_dead[2].out_channels) == (7, 5)  # type: ignore[index]
    torch.testing.assert_close(all_dead(inputs(5)), model(inputs(5)))
    assert not trial.has_labels
    assert len(trial.before) == 50
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_answers_are_counted_on_images_that_the_diagnosis_did_not_see(
    found: tuple[nn.Sequential, Network, Diagnosis],
) -> None:
    net = found[1]
    made_on = Inputs(net, inputs(), CONFIG.n_images, CONFIG.seed)
    others = made_on.others(30)
    assert others is not None
    assert len(others.ids) == 30
    assert not set(others.ids) & set(made_on.ids)
    assert len(made_on.others(1000).ids) == N - 80  # type: ignore[union-attr]
    assert Inputs(net, inputs(), N, 0).others(5) is None
    ids, batch = others.all()
    assert ids == list(others.ids)
    torch.testing.assert_close(batch, inputs()[ids])


def test_where_nothing_can_be_put_right_nothing_is_tried(
    found: tuple[nn.Sequential, Network, Diagnosis],
) -> None:
    model, net, result = found
    none = replace(result, findings=(), pictures=np.zeros((0, 8, 8, 3), np.uint8))
    assert try_found(none, model, net, inputs(), 20, UNTIMED) == (None, {})


def test_saved_weights_fit_a_model_of_the_same_class(
    found: tuple[nn.Sequential, Network, Diagnosis], tmp_path: Path
) -> None:
    model, net, result = found
    _, models = try_found(result, model, net, inputs(), 20, UNTIMED)
    own = models["dead map in 1: delete"]
    torch.save(own.state_dict(), tmp_path / "w.pt")
    again = load_changed(make_model(), torch.load(tmp_path / "w.pt", weights_only=True))
    torch.testing.assert_close(again(inputs(5)), own(inputs(5)))


def test_names_of_files_are_plain_and_differ() -> None:
    same = nn.Identity()
    found = names_of_files({"a map in x: delete": same, "a map in x, delete": same, "../up": same})
    assert len(set(found.values())) == 3
    assert list(found.values())[::2] == ["a-map-in-x-delete.pt", "up.pt"]


def test_labels_are_classes_only_where_they_fit() -> None:
    assert classes_of_labels(["b", "a", None, "b"], 2) == [1, 0, None, 1]
    assert classes_of_labels(["3", "0", "3"], 4) == [3, 0, 3]
    # the order of a set's own names, which need not be that of the alphabet
    assert classes_of_labels(["tench", "cat", None], 2, ["tench", "cat"]) == [0, 1, None]
    assert classes_of_labels(["b", "a"], 2, ["x", "y"]) == [1, 0]
    for labels, n_classes in ((["a", "b", "c"], 2), (["9"], 4), ([None, None], 2), (["a"], 0), ([], 3)):
        assert classes_of_labels(labels, n_classes) is None
