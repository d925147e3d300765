"""The benchmark of adaptive networks' errors runs, and counts what it says; its tables fit the page."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import backlight_demo
from backlight.adaptive import PRESETS, AdaptiveDeconvNet
from backlight.cli.models import sample_ids
from backlight.images import FileSource

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _importable(benchmarks):
    """Every test here imports benchmarks."""


@pytest.fixture(autouse=True)
def _only_the_demo(monkeypatch, tmp_path):
    """Let the benchmark see no photographs but the demo's, use one core, and write its results elsewhere."""
    import common

    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0}, raising=False)
    monkeypatch.setattr(common, "SHARED", tmp_path)
    monkeypatch.setattr(common, "RESULTS", tmp_path / "results")


def test_the_benchmark_runs_and_its_tables_are_those_of_the_page():
    import adaptive_errors
    import report
    from common import read_results

    found = json.loads(json.dumps(adaptive_errors.run(adaptive_errors.QUICK)))
    assert read_results(adaptive_errors.PART) == found
    # of two photographs of the demo, two layers; there are no others
    assert [(row["set"], row["layer"]) for row in found["rows"]] == [("demo", 1), ("demo", 2)] * 2
    assert len(found["steps"]) == 2 * len(adaptive_errors.STEPS)
    page = (ROOT / "docs" / "adaptive.md").read_text()
    filled = report.fill(page, {adaptive_errors.PART: found})
    for make in adaptive_errors.TABLES.values():
        header, rows = make(found)
        assert {len(own) for own in rows} == {len(header)}
        assert " | ".join(rows[0]) in filled
    assert report.fill(page, {}) == page


def test_a_photograph_is_measured_by_the_codes_that_inference_gives():
    import adaptive_errors

    net, path = AdaptiveDeconvNet(PRESETS["small"]), sorted(backlight_demo.photographs().glob("*.jpg"))[3]
    image = net.prepare(path)
    net.estimate_norms(image)
    rows = adaptive_errors.measure(net, path)
    assert [row["layer"] for row in rows] == [1, 2]
    for values in ("shrunk", "refitted"):
        codes = net.infer(image, values=values)
        for row in rows:
            rest = net.reconstruct(codes, row["layer"]) - image
            assert row[f"{values}_error"] == pytest.approx(float(rest.norm() / image.norm()), rel=1e-5)
            assert row[f"{values}_active"] == int(codes[row["layer"]].pooled.count_nonzero())
            blurred = net.reconstruct(codes, row["layer"], "average") - image
            assert row[f"{values}_average"] == pytest.approx(float(blurred.norm() / image.norm()), rel=1e-5)
    longer = net.infer(image, 1, net.config.steps + adaptive_errors.MORE_STEPS, "shrunk")
    assert rows[0]["longer_active"] == int(longer[1].pooled.count_nonzero())
    by_steps = adaptive_errors.by_steps(net, path)
    first = [row["error"] for row in by_steps if row["layer"] == 1]
    assert first == sorted(first, reverse=True)
    assert first[0] == pytest.approx(rows[0]["shrunk_error"], rel=1e-5)


def test_the_strongest_tenth_is_kept_at_its_places():
    import adaptive_errors

    net = AdaptiveDeconvNet(PRESETS["small"])
    code = net.infer(torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0)))[1]
    maps, kept = code.maps, adaptive_errors.strongest(code)
    count = int(maps.count_nonzero()) // 10
    assert 0 < count == int(kept.count_nonzero())
    is_kept = kept != 0
    assert torch.equal(kept[is_kept], maps[is_kept])
    assert kept[is_kept].abs().min() >= maps[~is_kept].abs().max()


def test_unseen_photographs_are_those_that_the_command_does_not_draw(monkeypatch, tmp_path):
    import adaptive_errors

    folder = tmp_path / "images" / "imagen"
    folder.mkdir(parents=True)
    for i in range(9):
        (folder / f"{i}.jpg").touch()
    settings = replace(adaptive_errors.QUICK, learned_on=4, unseen=3)
    learned_on, unseen = adaptive_errors._split(settings)
    drawn = sample_ids(FileSource("nine", folder, [f"{i}.jpg" for i in range(9)]), 4, 0)
    assert [int(path.stem) for path in learned_on] == drawn
    assert len(set(unseen)) == 3
    assert not set(unseen) & set(learned_on)
