"""The benchmark of remedies runs, counts what it says, and the page says what was measured."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import backlight

PAGE = Path(__file__).parents[1] / "docs" / "remedies.md"


@pytest.fixture(autouse=True)
def _importable(benchmarks):
    """Every test here imports benchmarks."""


@pytest.fixture
def subject(monkeypatch):
    """A small network in the place of a trained one."""
    import faults
    import remedies

    torch.manual_seed(0)
    parts = [nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 8, 3, padding=1), nn.ReLU()]
    model = nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)).eval()
    net = backlight.capture(model, (3, 16, 16))
    own = faults.Subject("small", model, net, torch.randn(130, 3, 16, 16))
    monkeypatch.setattr(remedies, "load_subject", lambda _name, n: own)
    return own


def test_planted_faults_are_removed_and_kept_row_by_row(subject, monkeypatch, tmp_path):
    import common
    import remedies

    monkeypatch.setattr(common, "RESULTS", tmp_path)
    settings = replace(remedies.QUICK, networks=("small",), zoo=(), rounds=0)
    found = json.loads(json.dumps(remedies.run(settings)))
    by_kind = {kind: [row for row in found["rows"] if row["kind"] == kind] for kind in remedies.KINDS}
    assert {kind: len(rows) for kind, rows in by_kind.items()} == {
        "dead": 1, "duplicate": 1, "loud": 2, "uneven": 3, "aliased": 3,
    }  # fmt: skip
    for kind in ("dead", "duplicate", "loud"):
        row = by_kind[kind][0]
        assert (row["gone"], row["kept"], row["change"]) == (True, True, 0.0)
    assert by_kind["loud"][0]["measure_after"] == pytest.approx(1)
    assert by_kind["uneven"][0]["measure_after"] == 0
    assert by_kind["aliased"][0]["measure_after"] < by_kind["aliased"][0]["measure_before"]
    kept = remedies.run(settings)
    assert kept == found  # nothing is measured again
    # another seed only adds, and what is measured in another way is measured anew
    more = remedies.run(replace(settings, seeds=2))
    assert more["rows"][: len(found["rows"])] == found["rows"]
    assert {row["seed"] for row in more["rows"][len(found["rows"]) :]} == {1}
    assert remedies.run(settings) == more  # fewer take none away
    assert remedies.run(replace(settings, seeds=0, images=21))["rows"] == []
    for header, rows in (
        remedies.planted_table(found),
        remedies.remedy_table(found),
        remedies.remedy_table({"rows": remedies.sound_rows(subject, settings)}, sound=True),
    ):
        assert {len(row) for row in rows} == {len(header)}


def test_the_energy_that_a_stride_folds_is_counted():
    import remedies
    from backlight.studies.diagnosis.remedies import low_pass

    conv = nn.Conv2d(1, 1, 1, stride=4, bias=False)
    nn.init.ones_(conv.weight)
    model = nn.Sequential(conv, nn.ReLU()).eval()
    rows = torch.arange(32.0)
    # waves of 16 and of 4 pixels: the stride of 4 carries what is no shorter than 8
    slow, fast = (torch.sin(2 * np.pi * rows / length).expand(1, 1, 32, 32) for length in (16, 4))
    assert remedies.folded(model, slow, 4) == pytest.approx(0, abs=1e-6)
    assert remedies.folded(model, fast, 4) == pytest.approx(1, abs=1e-6)
    assert remedies.folded(model, slow + fast, 4) == pytest.approx(0.5, abs=1e-3)
    net = backlight.capture(model, (1, 32, 32))
    for place in ("before", "after"):
        assert remedies.folded(low_pass(model, net, place=place).model, slow + fast, 4) < 0.2


def test_maps_are_counted():
    import remedies

    maps = torch.tensor([[0.0, 0, 0], [1, 2, 3], [2, 4, 6], [3, 2, 1], [-1, 0, 0]])
    assert remedies.silent_maps(maps) == 2
    assert remedies.equal_pairs(maps) == 1


def test_what_counts_as_removed_is_what_the_page_says():
    import remedies

    assert remedies.is_gone("dead", 3, 2)
    assert not remedies.is_gone("dead", 3, 3)
    assert remedies.is_gone("aliased", 0.8, 0.4)
    assert not remedies.is_gone("aliased", 0.8, 0.5)
    assert not remedies.is_gone("uneven", None, None)
    rows = [{"labels": True, "change": -0.001}, {"labels": True, "change": -0.0017}]
    rows += [
        {"labels": False, "change": -0.005},
        {"labels": False, "change": -0.01},
        {"labels": True, "change": None},
    ]
    assert [remedies.is_kept(row | {"before": 0.1}) for row in rows] == [True, False, True, False, False]
    # a network that gets nothing right cannot lose, and must surely gain
    gains = [{"change": 0.05, "low": -0.04}, {"change": 0.2, "low": 0.08}]
    assert [remedies.is_kept(own | {"before": 0.0, "labels": True}) for own in gains] == [False, True]


def test_photographs_have_the_class_that_they_are_named_for(subject, monkeypatch):
    import remedies

    # a crane is a bird and a machine; no network knows persons
    names = ["n01443537_1_goldfish", "n00007846_2_person", "n02012849_3_crane", "n03196217_4_digital_clock"]
    files = [Path(f"{name}.jpg") for name in [*names * 30, "mine"]]
    monkeypatch.setattr(remedies, "photographs", lambda: files)
    assert remedies.classes_of_photographs() == [*[1, None, None, 530] * 30, None]
    settings = replace(remedies.QUICK, photographs=7)
    images, labels = remedies.measured_on(replace(subject, name="demo"), subject.images, settings)
    assert labels.tolist() == [1, 530, 1, 530, 1, 530, 1]
    assert torch.equal(images, subject.images[[100, 103, 104, 107, 108, 111, 112]])
    images, labels = remedies.measured_on(subject, subject.images, settings)
    assert labels is None
    assert torch.equal(images, subject.images[100:107])


def test_a_network_of_the_zoo_is_counted():
    import remedies

    row = remedies.zoo_row("squeezenet1_1")
    assert row == {
        "network": "squeezenet1_1",
        "layers": 26,
        "deleted": 25,
        "reasons": {"part of the output": 1},
    }
    _, ((*_, why),) = remedies.zoo_table({"zoo": [row]})
    assert why == "1 part of the output"


def test_the_page_says_what_was_measured():
    import remedies
    import report
    from common import read_results

    found = read_results(remedies.PART)
    page = PAGE.read_text()
    assert report.fill(page, {remedies.PART: found}) == page
    settings = remedies.Settings()
    assert found["settings"] == {"images": settings.images, "photographs": 40, "rounds": settings.rounds}
    # the planted faults are removed in at least 8 of the 10 networks
    names = {row["network"] for row in found["rows"]}
    assert names == set(settings.networks)
    for kind in remedies.KINDS:
        assert remedies.n_fixed(found["rows"], kind) >= 8
    # what is exact changes no answer
    exact = ("delete", "merge", "renormalise")
    assert {row["change"] for row in found["rows"] if row["remedy"] in exact and row["done"]} == {0.0}
    for name, kind in product(names, remedies.KINDS):
        assert len(remedies.fixed_by_seed(found["rows"], name, kind)) >= 2


def test_the_prose_says_what_low_passes_cost_and_gain():
    import remedies
    from common import read_results

    rows, page = read_results(remedies.PART)["rows"], " ".join(PAGE.read_text().split())
    aliased = [row for row in rows if row["kind"] == "aliased"]
    photographed = [row for row in aliased if row["network"] in ("squeezenet", "demo")]
    planted = [row for row in aliased if row not in photographed]
    low_passes = [row for row in planted if row["remedy"].startswith("low-pass")]
    alone = [row for row in planted if row["remedy"] == "norms alone"]
    assert all(row["low"] > 0 for row in low_passes)  # each gain is sure
    assert not any(row["gone"] for row in alone)
    assert {row["before"] for row in photographed} == {0.0}
    harmless = [row for row in rows if row["kind"] == "uneven" and row["gone"] and not row["kept"]]
    assert {row["network"] for row in harmless} == {"leaky", "depthwise"}
    assert all(row["high"] > 0 for row in harmless)
    worse = [-100 * row["change"] for row in harmless]

    def lost(remedy, strided):
        own = [row for row in rows if (row["kind"], row["remedy"]) == ("sound", remedy) and row["done"]]
        found = [
            -row["change"]
            for row in own
            if (row["network"] in ("strided", "residual", "depthwise")) == strided
        ]
        return 100 * min(found), 100 * max(found)

    after, before = "low-pass after the rectifier", "low-pass before the convolution"
    pools, blurred, cheap = (
        lost(f"{name}, old norms", strided)
        for name, strided in ((after, False), (after, True), (before, True))
    )
    most = [max(lost(name, strided)[1] for strided in (False, True)) for name in (after, before)]
    for text in (
        f"it gets {_from_to([row['before'] for row in planted])} % right, where guessing gets 10",
        f"they get {100 * max(row['after'] or 0 for row in photographed):.0f} % right at most",
        f"by {min(worse):.1f} to {max(worse):.1f} points: such a planting counts as not removed",
        f"{_from_to([row['after'] for row in low_passes])} % of CIFAR-10 are right again",
        f"Behind max pools a low-pass costs {pools[0]:.1f} to {pools[1]:.1f} points",
        f"{blurred[0]:.0f} to {blurred[1]:.0f} points of accuracy are lost with a blur behind the rectifier",
        f"{cheap[0]:.0f} to {cheap[1]:.0f} with one before the convolution",
        f"{most[0]:.1f} points at most behind the rectifier, {most[1]:.1f} before the convolution",
    ):
        assert text in page


def _from_to(shares):
    return f"{100 * min(shares):.0f} to {100 * max(shares):.0f}"
