"""A trial counts what changes, and says it in a line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from backlight.errors import BadInputError, RemedyError
from backlight.studies.diagnosis.remedies import (
    Remedied,
    Remedy,
    Trial,
    TrialConfig,
    delete_maps,
    renormalise_maps,
    try_remedies,
)
from backlight.studies.diagnosis.remedies.trial import classes_of, cost_of
from studies.diagnosis.remedies.cut_zoo import SIDE, captured, chain

QUICK = TrialConfig(batch=7, rounds=0)
IMAGES = torch.randn(20, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(5))


def classifier() -> nn.Module:
    """Return a network of 4 classes."""
    return nn.Sequential(chain(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Answers(nn.Module):
    """A model that is the same for every image but the first, to which it gives another class."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        scores = self.model(x)
        turned = (x == IMAGES[:1]).flatten(1).all(1)
        return torch.where(turned[:, None], -scores, scores)


def _refused() -> Remedied:
    raise RemedyError("it has no maps")


@pytest.fixture
def remedies() -> list[Remedy]:
    model, net = captured(classifier)
    return [
        Remedy(
            "prune",
            lambda: delete_maps(model, net, "0.2", [1]),
            lambda own: own.get_submodule("0.0").out_channels,
        ),
        Remedy("turn one", lambda: Remedied(Answers(model), "turn one", "one turned", ("a note",))),
        Remedy("nothing", _refused),
        Remedy("renormalise", lambda: renormalise_maps(model, net, "0.2", [1])),
    ]


def test_accuracies_are_counted_image_by_image(remedies: list[Remedy]) -> None:
    model, net = captured(classifier)
    found = torch.cat([model(own[None]).argmax(1) for own in IMAGES])
    labels = torch.where(torch.arange(20) < 15, found, (found + 1) % 4)  # three quarters are right
    trial, models = try_remedies(model, net, remedies, IMAGES, labels, QUICK)
    assert trial.accuracy().mean == 0.75
    assert trial.before.tolist() == found.tolist()
    # the first image was right, and is not any more
    turned = trial.change(1)
    assert (turned.mean, turned.n) == (pytest.approx(-0.05), 20)
    assert turned.low < -0.05 < turned.high
    assert trial.p(1) == 1.0
    # scaled exactly, nothing changes
    assert trial.after[3].tolist() == found.tolist()
    assert trial.change(3).mean == 0
    assert list(models) == ["prune", "turn one", "renormalise"]
    assert trial.after[2].tolist() == [-1] * 20


def test_without_labels_it_is_counted_how_many_answers_stay(remedies: list[Remedy]) -> None:
    model, net = captured(classifier)
    trial, _ = try_remedies(model, net, remedies[1:2], IMAGES, config=QUICK)
    assert trial.accuracy(0).mean == 0.95
    assert trial.accuracy(0).low < 0.95 < trial.accuracy(0).high
    assert trial.change(0).mean == pytest.approx(-0.05)
    assert trial.change(0).high == pytest.approx(trial.accuracy(0).high - 1)
    assert trial.p(0) is None


def test_costs_are_those_of_convolutions_and_weights(remedies: list[Remedy]) -> None:
    model, net = captured(classifier)
    trial, models = try_remedies(model, net, remedies[:1], IMAGES, config=QUICK)
    # two operations for each product: 8x8 positions, then 4x4 behind the pool
    flops = 2 * (64 * 6 * 27 + 16 * 8 * 54 + 16 * 4 * 8)
    assert trial.cost.flops == flops
    assert trial.tried[0].cost.flops == 2 * (64 * 5 * 27 + 16 * 8 * 45 + 16 * 4 * 8)
    assert trial.cost.parameters == sum(own.numel() for own in model.parameters())
    assert trial.cost.parameters - trial.tried[0].cost.parameters == 27 + 2 + 8 * 9
    assert trial.cost.ms is None
    assert cost_of(models["prune"], IMAGES).flops == trial.tried[0].cost.flops


def test_times_are_taken_where_they_are_asked_for(remedies: list[Remedy]) -> None:
    model, net = captured(classifier)
    trial, _ = try_remedies(model, net, remedies[:1], IMAGES, config=TrialConfig(rounds=1, timed=2))
    assert trial.cost.ms > 0
    assert trial.tried[0].cost.ms > 0
    assert "; time " in trial.lines()[0]


def test_each_remedy_has_one_line(remedies: list[Remedy]) -> None:
    model, net = captured(classifier)
    labels = classes_of(model, net, IMAGES)
    trial, _ = try_remedies(model, net, remedies, IMAGES, torch.from_numpy(labels), QUICK)
    prune, turn, nothing, renormalise = trial.lines()
    assert prune.startswith("prune: 1 of 6 maps of '0.2' deleted: accuracy 100.0 % -> ")
    assert prune.endswith("; the finding's measure 6 -> 5")
    assert "accuracy 100.0 % -> 95.0 % (-5.0, 95 % interval " in turn
    assert turn.endswith("; FLOPs unchanged; parameters unchanged; a note")
    assert nothing == "nothing: not possible: it has no maps"
    assert "(+0.0, 95 % interval " in renormalise
    trial, _ = try_remedies(model, net, remedies[1:2], IMAGES, config=QUICK)
    assert "one turned: 95.0 % of the answers stay (95 % interval 76.4 to 99.1 %)" in trial.lines()[0]


def test_a_trial_is_saved_and_drawn(remedies: list[Remedy], tmp_path: Path) -> None:
    model, net = captured(classifier)
    trial, _ = try_remedies(model, net, remedies, IMAGES, config=QUICK)
    trial.save(tmp_path / "trial")
    again = Trial.load(tmp_path / "trial")
    assert again.summary() == trial.summary()
    assert again.lines() == trial.lines()
    assert np.array_equal(again.after, trial.after)
    left, right = trial.plot().axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["prune", "turn one", "renormalise"]
    assert len(right.patches) == 6


def test_models_measures_and_progress_are_told(remedies: list[Remedy]) -> None:
    model, net = captured(classifier)
    told: list[tuple[str, int, int]] = []
    trial, _ = try_remedies(
        model, net, remedies, IMAGES, config=QUICK, progress=lambda *own: told.append(own)
    )
    assert told == [("remedies", k, 5) for k in range(1, 6)]
    assert trial.measures == (6.0, None, None, None)
    assert [own.measure for own in trial.tried] == [5.0, None, None, None]
    assert [own.is_done for own in trial.tried] == [True, True, False, True]


def test_what_does_not_fit_is_refused(remedies: list[Remedy]) -> None:
    model, net = captured(classifier)
    with pytest.raises(
        BadInputError, match=r"^a label for each image is needed, got 20 images and 3 labels$"
    ):
        try_remedies(model, net, remedies, IMAGES, [0, 1, 2], QUICK)
    with pytest.raises(BadInputError, match=r"^no images are given; remedies are measured on some$"):
        try_remedies(model, net, remedies, IMAGES[:0], config=QUICK)
    with pytest.raises(BadInputError, match=r"^two remedies have the same name; give each its own$"):
        try_remedies(model, net, [remedies[0], remedies[0]], IMAGES, config=QUICK)
    with pytest.raises(BadInputError, match=r"^Sequential does not classify"):
        try_remedies(*captured(chain), [], IMAGES, config=QUICK)
    with pytest.raises(BadInputError, match=r"^batch must be at least 1, got 0$"):
        TrialConfig(batch=0)
