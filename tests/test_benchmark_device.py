"""The check of a device runs whole, on the CPU, and counts what it says; how long anything takes is not tested."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from conftest import SmallNet

TINY = {"correct": ("small",), "fast": ("small",), "size": 32, "units": 8, "layers": 2, "batches": (2,), "repeats": 1,
        "budget_s": 0.0, "sgemm_size": 16, "copied_mb": 1}  # fmt: skip


def test_every_part_runs_and_the_cpu_agrees_with_itself(
    benchmarks: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import device

    monkeypatch.setattr(device, "get_model", lambda *_, **__: SmallNet())
    found = device.run(torch.device("cpu"), device.Settings(**TINY))
    assert found["correct"] == [
        {"network": "small", "units": 8, "beyond": 0, "worst": pytest.approx(0, abs=1e-5)}
    ]
    assert found["same_hits"]["same"] == found["same_hits"]["certain"] > 20
    (own,) = found["fast"]
    assert [layer["layer"] for layer in own["layers"]] == ["relu1", "relu2"]
    assert all(own[key] > 0 for key in ("forward_per_s", "scan_per_s", "projections_per_s", "captum_per_s"))
    device.print_results(found)
    assert "small relu2" in capsys.readouterr().out


def test_a_projection_that_is_off_is_counted(benchmarks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import device

    monkeypatch.setattr(device, "get_model", lambda *_, **__: SmallNet())
    project = device.project
    monkeypatch.setattr(
        device,
        "project",
        lambda net, *own, **named: project(net, *own, **named) * (1.01 if net.dtype == torch.float32 else 1),
    )
    (found,) = device.run(torch.device("cpu"), device.Settings(**TINY | {"fast": ()}))["correct"]
    assert found["beyond"] == found["units"]
    assert found["worst"] == pytest.approx(0.01, rel=1e-3)


def test_operators_are_counted_as_they_reach_the_device(benchmarks: Path) -> None:
    import device

    net = device.capture(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), (3, 16, 16))
    layer, image = net.layer("1"), torch.rand(1, 3, 16, 16)
    # a convolution, a rectifier, and what passes a signal back through both
    assert all(device.operators_of(net, layer, image, n) >= 4 for n in (1, 4, 64))
