"""The example of the paper's experiment: its loop goes on after a kill, its measures and tables count right.

How well its networks recognise, and what the correction gains, is not tested: that is in the example's README.
"""

from __future__ import annotations

import json
import sys
from math import cos, pi
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from backlight import capture
from backlight.models import load_model
from backlight.studies.intervals import mean_interval

EXAMPLE = Path(__file__).parents[1] / "examples" / "zf_cifar10"
NAMES = ("networks", "training", "measures", "table")
BASE, REMOVED = (32, 64, 96, 96, 64), (32, 64, 64)
WIDE, NARROW = (32, 64, 192, 192, 128), (32, 64, 48, 48, 32)
STATED = {
    "alexnet": (BASE, (256, 256)),
    "zf": (BASE, (256, 256)),
    "zf_clipped": (BASE, (256, 256)),
    "alexnet_without_3_4": (REMOVED, (256, 256)),
    "alexnet_without_7": (BASE, (256,)),
    "alexnet_without_6_7": (BASE, ()),
    "alexnet_without_3_4_6_7": (REMOVED, ()),
    "zf_half_fc": (BASE, (128, 128)),
    "zf_double_fc": (BASE, (512, 512)),
    "zf_half_conv": (NARROW, (256, 256)),
    "zf_double_conv": (WIDE, (256, 256)),
    "zf_double_conv_fc": (WIDE, (512, 512)),
}
"""Maps of the convolutions and units of the hidden fully connected layers that the README states."""


@pytest.fixture
def example(monkeypatch):
    """The example's modules by name, imported afresh, and gone afterwards: their names are common ones."""
    monkeypatch.setattr(sys, "path", [str(EXAMPLE), *sys.path])
    before = {name: sys.modules.pop(name) for name in NAMES if name in sys.modules}
    yield SimpleNamespace(**{name: __import__(name) for name in NAMES})
    for name in NAMES:
        del sys.modules[name]
    sys.modules.update(before)


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(40, 3, 32, 32, generator=generator) * 60, torch.arange(40) % 10


def run_of(example, folder, name="alexnet", seed=0, **settings):
    own = {"epochs": 3, "batch": 16, "saved": (1, 2), **settings}
    return example.training.Run(name, seed, example.training.Settings(**own), folder)


def weights_of(run):
    return {epoch: path.read_bytes() for epoch, path in run.checkpoints.items()}


def test_a_killed_run_ends_with_the_same_bits(example, data, tmp_path, monkeypatch):
    whole, killed = run_of(example, tmp_path / "whole"), run_of(example, tmp_path / "killed")
    example.training.train(whole, data)
    example.training.train(killed, data, most=1)

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as during, pytest.raises(KeyboardInterrupt, match=r"^$"):
        during.setattr(torch, "save", stop)  # after the weights of epoch 2 and before the optimiser's state
        example.training.train(killed, data)
    assert list(killed.checkpoints) == [0, 1, 2] and not killed.is_done
    torch.manual_seed(99)
    example.training.train(killed, data)
    assert list(killed.checkpoints) == [0, 1, 2, 3]
    assert weights_of(killed) == weights_of(whole)
    assert len(set(weights_of(whole).values())) == 4
    assert not (killed.place / "resume.pt").exists()


def test_a_run_that_is_there_is_not_trained_again(example, data, tmp_path):
    run = run_of(example, tmp_path, epochs=1)
    example.training.train(run, data)
    before = weights_of(run)
    example.training.train(run, (data[0] * torch.nan, data[1]))
    assert weights_of(run) == before


def test_seeds_differ_and_pairs_begin_as_the_same(example, data, tmp_path):
    runs = [run_of(example, tmp_path, *of, epochs=1) for of in (("zf", 0), ("zf", 1), ("zf_clipped", 0))]
    for run in runs:
        example.training.train(run, data)
    zf, other, clipped = map(weights_of, runs)
    assert zf[0] != other[0] and zf[1] != other[1]
    assert zf == clipped  # in three steps no filter has come to the limit


def test_a_folder_with_other_settings_is_refused(example, data, tmp_path):
    example.training.train(run_of(example, tmp_path, epochs=1), data)
    with pytest.raises(SystemExit, match=r'other settings, .*"epochs": 1.*; give another --folder'):
        example.training.train(run_of(example, tmp_path, epochs=2), data)


def test_a_loss_that_is_not_finite_ends_the_run(example, data, tmp_path):
    run = run_of(example, tmp_path, rate=1e9)
    with pytest.raises(SystemExit, match="alexnet, seed 0: the loss is not finite in epoch 1; lower --rate"):
        example.training.train(run, data)
    assert list(run.checkpoints) == [0]


def test_the_rate_falls_in_the_last_quarter(example):
    settings = example.training.Settings(epochs=8, rate=0.5)
    assert [settings.rate_of(i) for i in (1, 6, 7, 8)] == pytest.approx([0.5, 0.5, 0.05, 0.05])


@pytest.mark.parametrize(("name", "stays"), [("zf_clipped", True), ("zf", False)])
def test_clipped_filters_stay_within_the_limit(example, data, tmp_path, name, stays):
    run = run_of(example, tmp_path, name, epochs=1, limit=0.0135)
    example.training.train(run, data)
    model = run.model()
    filters = [own.weight.detach() for own in model if isinstance(own, nn.Conv2d)]
    largest = max(float(own.square().mean((1, 2, 3)).sqrt().max()) for own in filters)
    assert (largest <= 0.0135 * (1 + 1e-5)) == stays
    found = example.measures.filter_rms(model.conv1, 0.0135)
    assert found["at_limit"] > 0


def test_the_first_filters_are_drawn(example, data, tmp_path):
    import figures

    try:
        runs = [run_of(example, tmp_path, name, epochs=1) for name in ("alexnet", "zf")]
        for run in runs:
            example.training.train(run, data)
        both, one = figures.stacked(runs), figures.stacked(runs[1:])
    finally:
        del sys.modules["figures"]
    assert both.width >= one.width >= 16 * figures.TILE
    assert both.crop((0, both.height - one.height, one.width, both.height)).tobytes() == one.tobytes()


def test_the_networks_have_the_stated_shapes(example):
    assert list(STATED) == list(example.networks.SHAPES)
    for name, (maps, units) in STATED.items():
        model = getattr(example.networks, name)()
        convs = [own for own in model if isinstance(own, nn.Conv2d)]
        assert tuple(own.out_channels for own in convs) == maps
        assert tuple(own.out_features for own in model if isinstance(own, nn.Linear)) == (*units, 10)
        first = ((8, 8), (4, 4)) if name.startswith("alexnet") else ((5, 5), (2, 2))
        assert (convs[0].kernel_size, convs[0].stride) == first
        assert model[:-1](torch.zeros(1, 3, 32, 32)).shape == (1, model.fc8.in_features)
        # both have as many positions above layer 2, as in the paper
        assert model[: list(dict(model.named_children())).index("relu2")](torch.zeros(1, 3, 32, 32)).shape[
            2:
        ] == (4, 4)


def test_fewer_inputs_draw_larger_weights(example):
    torch.manual_seed(0)
    for name, first in (("alexnet", 3 * 11 * 11), ("zf", 3 * 7 * 7)):
        model = example.networks.make(name)
        for layer, inputs in (("conv1", first), ("conv3", 2304), ("fc6", 9216)):
            weight = getattr(model, layer).weight.detach()
            # 0.01 for the paper's inputs: the output of a unit is as strong as there
            assert float(weight.square().mean() * weight[0].numel()) == pytest.approx(inputs * 1e-4, rel=0.1)


def test_backlight_loads_a_checkpoint(example, data, tmp_path):
    run = run_of(example, tmp_path, "zf", epochs=1)
    example.training.train(run, data)
    loaded = load_model(f"{EXAMPLE / 'networks.py'}:zf", str(run.checkpoint(1)))
    assert torch.equal(loaded.model.conv1.weight, run.model().conv1.weight)
    assert not loaded.is_random


def test_a_grid_stands_out_from_what_is_beside_it(example):
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(200, 3, 32, 32, generator=generator)
    grid = noise.clone()
    grid[:, :, ::4, ::4] += 3
    measure = example.measures.grid_energy
    assert measure(noise, 4) == pytest.approx(1, abs=0.15)
    assert measure(grid, 4) > 10
    assert measure(grid.roll((1, 3), (2, 3)), 4) == pytest.approx(measure(grid, 4), rel=1e-3)
    assert measure(grid, 2) > 10  # twice the frequency of a grid of 4
    assert measure(torch.cat([grid, grid[:1] * 0]), 4) == measure(grid, 4)
    assert measure(grid[:1] * 0, 4) is None
    assert measure(grid[:0], 4) is None


def test_of_a_layer_all_dead_nothing_is_projected(example, data):
    model = example.networks.make("zf").eval()
    with torch.no_grad():
        model.conv2.bias.fill_(-1e6)
    net = capture(model, (3, 32, 32), example.training.PREPROCESSING)
    projections = example.measures.project_hits(net, net.layer("relu2"), data[0])
    assert projections.shape == (0, 3, 32, 32)
    assert example.measures.grid_energy(projections, 4) is None


def test_filters_are_told_apart_by_frequency(example):
    waves = [
        [[cos(2 * pi * f * col) for col in range(8)] for _ in range(8)] for f in (0, 1 / 16, 1 / 4, 7 / 16)
    ]
    filters = torch.tensor(waves)[:, None].expand(-1, 3, -1, -1)
    assert example.measures.peaks_by_band(filters) == {"low": 2, "mid": 1, "high": 1}
    shares = [example.measures.energy_by_band(own[None]) for own in filters]
    assert [max(own, key=own.__getitem__) for own in shares] == ["low", "low", "mid", "high"]
    assert all(sum(own.values()) == pytest.approx(1, abs=1e-4) for own in shares)
    assert example.measures.energy_by_band(filters[2:3] * 9) == shares[2]


@pytest.mark.parametrize(
    ("frequency", "stride", "folds"), [(1 / 16, 4, False), (3 / 16, 4, True), (3 / 16, 2, False)]
)
def test_energy_folds_above_half_a_cycle_per_step(example, frequency, stride, folds):
    first = nn.Conv2d(3, 2, 1, stride)
    wave = torch.cos(2 * pi * frequency * torch.arange(32.0)).expand(4, 3, 32, 32)
    share = example.measures.folded_energy(first, wave + 5)
    assert (share > 0.95) if folds else (share < 0.05)
    assert example.measures.folded_energy(first, wave.transpose(2, 3)) == pytest.approx(share, abs=1e-3)


def test_dead_maps_are_counted(example, data):
    torch.manual_seed(0)
    model = example.networks.make("zf").eval()
    with torch.no_grad():
        for conv, dead in ((model.conv1, [3]), (model.conv4, [0, 2, 4])):
            conv.bias.fill_(1e4)
            conv.bias[dead] = -1e6
    net = capture(model, (3, 32, 32), example.training.PREPROCESSING)
    found = example.measures.dead_maps(net, data[0])
    assert list(found) == [f"relu{i}" for i in range(1, 8)]
    assert found["relu1"] == [1, 32] and found["relu4"] == [3, 96]


def test_a_row_holds_all_that_the_tables_show(example, data, tmp_path):
    run = run_of(example, tmp_path, "zf", epochs=1)
    example.training.train(run, data)
    rows = [example.measures.measure(run, epoch, data, data) for epoch in (0, 1)]
    example.measures.write(rows[::-1], tmp_path / "rows.json")
    assert json.loads((tmp_path / "rows.json").read_text()) == rows
    assert rows[1]["accuracies"] == {"1": rows[1]["accuracy"]}
    values = [[own.of(row) for row in rows] for own in example.table.MEASURES]
    assert np.isfinite(np.array(values, np.float64)).all()
    for table in example.table.TABLES.values():
        assert "| zf" in table(rows)


def rows_of(network, accuracies, epoch=4):
    return [
        {"network": network, "seed": seed, "epoch": epoch, "accuracy": own, "train_accuracy": own + 0.1}
        for seed, own in accuracies.items()
    ]


def test_differences_are_paired_by_seed(example):
    rows = rows_of("zf", {2: 0.7, 0: 0.5, 1: 0.6}) + rows_of("alexnet", {0: 0.4, 1: 0.45, 2: 0.64, 3: 0.1})
    rows += rows_of("alexnet", {0: 0.9, 1: 0.9, 2: 0.9}, epoch=0)
    measure = example.table.MEASURES[0]
    found = example.table.paired(measure, rows, "zf", "alexnet")
    assert found.tolist() == pytest.approx([0.1, 0.15, 0.06])
    own = mean_interval(found)
    assert (
        example.table.interval(measure, found)
        == f"+10.3 (−{abs(100 * own.low):.1f} to +{100 * own.high:.1f})"
    )
    assert example.table.spread(measure, measure.values(example.table.chosen(rows, "zf"))) == "60.0 ± 10.0"
    assert example.table.spread(measure, np.array([0.5])) == "50.0"
    assert example.table.interval(measure, np.array([])) == example.table.spread(measure, np.array([])) == "–"


def test_a_variant_is_compared_with_its_own_whole(example):
    rows = rows_of("zf", {0: 0.7, 1: 0.6}) + rows_of("zf_half_fc", {0: 0.6})
    table = example.table.ablations_table(rows + rows_of("alexnet", {0: 0.1}))
    assert "| zf half fc | 1 | 30.0 | 40.0 | +10.0 |" in table
    assert "| zf | 2 | 25.0 ± 7.1 | 35.0 ± 7.1 |  |" in table


def test_no_difference_at_all_is_no_finding(example):
    assert example.table.p_value(np.zeros(5)) == 1
    assert np.isnan(example.table.p_value(np.array([0.3])))
    assert example.table.p_value(np.array([0.1, 0.11, 0.09, 0.1])) < 0.001


def test_the_page_shows_the_results_that_are_there(example):
    page, rows = (EXAMPLE / "README.md").read_text("utf-8"), json.loads(example.measures.RESULTS.read_text())
    assert page.count("<!-- table: ") == len(example.table.TABLES)
    assert example.table.fill(page, rows) == page
    assert {row["seed"] for row in rows if row["network"] == "zf"} >= set(range(5))
