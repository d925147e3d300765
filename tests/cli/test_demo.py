"""`backlight demo`: what it writes, with a small network of the demo's layers in the place of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import backlight
import backlight_demo
from backlight.cli import demo
from cli.running import run
from conftest import make_pictures


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu2 = nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu2(x + self.conv(x))


class _Small(nn.Module):
    """As many blocks as the demo's network has, under their names, with 8 maps each."""

    def __init__(self) -> None:
        super().__init__()
        self.conv0, self.relu0 = nn.Conv2d(3, 8, 3, stride=2), nn.ReLU()
        for group, n_blocks in enumerate((3, 4, 6, 3), 1):
            self.add_module(f"group{group}", nn.Sequential(*(_Block() for _ in range(n_blocks))))

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu0(self.conv0(x))
        for group in (self.group1, self.group2, self.group3, self.group4):
            x = group(x)
        return x.mean((2, 3))


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a small network and a picture for the demo's, and go to an empty folder."""
    torch.manual_seed(0)
    photographs = make_pictures(tmp_path / "photographs", 1)
    small = {"resize": 20, "crop": [20, 20], "mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bilinear"}
    monkeypatch.setattr(demo, "SHOWN", {layer: [0, 3, 5] for layer in demo.SHOWN})
    monkeypatch.setattr(backlight_demo, "model", _Small)
    monkeypatch.setattr(backlight_demo, "photographs", lambda: photographs)
    monkeypatch.setattr(backlight_demo, "PREPROCESSING", small)
    monkeypatch.chdir(tmp_path)


def test_the_demo_writes_an_atlas_and_figures_and_names_them(
    small: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("demo", "-o", "new/out") == 0
    printed = capsys.readouterr().out
    layers = ("relu0", "group1.2.relu2", "group2.2.relu2", "group3.4.relu2", "group4.2.relu2")
    figures = {*(f"{layer}.png" for layer in layers), "filters.png", "group2.2.relu2-superposed.png"}
    written = {path.name for path in Path("new/out").iterdir()}
    assert written == {*figures, "demo.atlas", "site"}
    assert Path("new/out/site/index.html").exists()
    sizes = {name: Image.open(f"new/out/{name}").size for name in figures}
    assert min(width for width, _ in sizes.values()) > 100
    assert {line.strip() for line in printed.splitlines() if "new/out/" in line} == {
        f"new/out/{name}" for name in {*written, "site/index.html"} - {"site"}
    }
    assert " over 5 crops of 1 photographs: " in " ".join(printed.split())
    atlas = backlight.open_atlas("new/out/demo.atlas")
    # guided stands beside the deconvnet
    plain = {layer for layer in layers if atlas.figure(layer).size == sizes[f"{layer}.png"]}
    assert plain == {"relu0", "group1.2.relu2", "group2.2.relu2"}
    assert atlas["group2.2.relu2"].channels == (0, 3, 5)
    assert len(atlas["group2.0.relu2"].channels) == demo.MAPS
    # as docs/evidence.md finds it, and as every figure says
    rules = {layer.name.partition(".")[0]: layer.rules.name for layer in atlas.layers}
    assert rules == {
        "relu0": "deconvnet",
        "group1": "deconvnet",
        "group2": "deconvnet",
        "group3": "guided",
        "group4": "guided",
    }


def test_the_maps_shown_are_those_that_the_benchmark_found(benchmarks: Path) -> None:
    import common
    import demo_maps

    results = common.read_results(demo_maps.PART)
    assert results is not None
    assert demo_maps.best(results) == demo.SHOWN
    for layer in demo.SHOWN:
        gains = [row["fall"] - row["turned"] for row in results["rows"] if row["layer"] == layer]
        assert len(gains) == 24
        assert gains == sorted(gains, reverse=True)


def test_a_file_in_the_place_of_the_folder_is_refused_before_any_work(
    small: None, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("out").write_text("mine")
    assert run("demo", "-o", "out") == 2
    caught = capsys.readouterr()
    assert caught.out == ""
    assert caught.err.startswith("error: 'out' is a file; ")
    assert Path("out").read_text() == "mine"


def test_without_its_distribution_the_demo_says_how_to_get_it(
    small: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "backlight_demo", None)
    assert run("demo", "-o", "out") == 2
    assert "the demo's model is not installed; run `make demo`" in capsys.readouterr().err
    assert not Path("out").exists()
