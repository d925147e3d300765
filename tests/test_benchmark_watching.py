"""The benchmark of watching a training: both trainings are the same, and what the page says is what was measured."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
BENCHMARKS, EXAMPLE = ROOT / "benchmarks", ROOT / "examples" / "zf_cifar10"


@pytest.fixture
def watching(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), str(EXAMPLE), *sys.path])
    before = set(sys.modules)
    import watching

    yield watching
    for name in set(sys.modules) - before:
        if name in ("watching", "training", "networks", "common"):
            del sys.modules[name]


def test_a_watched_training_ends_with_the_same_weights(watching) -> None:  # type: ignore[no-untyped-def]
    data = torch.randn(256, 3, 32, 32, generator=torch.Generator().manual_seed(0)), torch.arange(256) % 10
    found = watching.run(replace(watching.QUICK, sgemm_sizes=(64,)), data)
    assert found["same_weights"]
    assert found["looks"] >= 1
    assert found["share"] == found["watching_s"] / found["training_s"] > 0
    assert json.loads(json.dumps(found))["settings"]["epochs"] == 2


def test_the_page_says_what_was_measured_and_it_is_within_the_budget(watching) -> None:  # type: ignore[no-untyped-def]
    found = json.loads((BENCHMARKS / "results" / "watching.json").read_text())
    assert found["same_weights"]
    assert found["share"] <= found["settings"]["max_share"]
    header, rows = watching.table(found)
    page = (ROOT / "docs" / "performance.md").read_text()
    for row in (header, *rows):
        assert f"| {' | '.join(row)} |" in page
