"""The benchmarks count right, and every part of them runs; how long anything takes is not tested."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from torch import nn

from backlight import Preprocessing, capture
from backlight.images import SequenceSource
from backlight.projection import Unit
from backlight.scan.compiling import has_compiler

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SGEMM = (64,)


@pytest.fixture(autouse=True)
def _importable(benchmarks):
    """Every test here imports benchmarks."""


@pytest.fixture(autouse=True)
def _one_thread_only(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0}, raising=False)


def cone(net, layer, row, col):
    from counting import cone_multiply_adds

    return cone_multiply_adds(net, net.layer(layer), row, col)


def test_the_cone_of_a_chain_is_what_counting_by_hand_gives():
    body = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 3, padding=1), nn.ReLU()
    )
    net = capture(body, (3, 12, 12))
    last = 1 * 1 * 4 * 9  # from one unit of one map
    assert cone(net, "4", 3, 3) == last + (6 * 6) * 4 * 3 * 9  # 3x3 of the pooled map, 6x6 below it
    assert cone(net, "4", 0, 0) == last + (4 * 4) * 4 * 3 * 9  # what lies outside the map does not count
    assert cone(net, "4", 0, 3) == last + (4 * 6) * 4 * 3 * 9
    assert cone(net, "1", 5, 5) == 1 * 1 * 3 * 9


def test_the_cone_knows_strides_dilations_and_groups():
    body = nn.Sequential(
        nn.Conv2d(4, 6, 1, bias=False),
        nn.Conv2d(6, 6, 3, stride=2, groups=3),
        nn.BatchNorm2d(6),
        nn.Conv2d(6, 2, 3, dilation=2),
    )
    net = capture(body, (4, 23, 23))
    last, grouped, first = 1 * 6 * 9, (5 * 5) * 6 * 2 * 9, (11 * 11) * 6 * 4
    assert cone(net, net.layers[-1].name, 3, 3) == last + grouped + first


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.below, self.branch, self.relu = (
            nn.Conv2d(3, 4, 1),
            nn.Conv2d(4, 4, 3, padding=1),
            nn.ReLU(),
        )

    def forward(self, x):
        x = self.below(x)
        return self.relu(self.branch(x) + x)


def test_the_windows_of_two_branches_are_joined():
    net = capture(Residual(), (3, 9, 9))
    assert cone(net, "relu", 4, 4) == 1 * 4 * 9 + (3 * 3) * 4 * 3


def test_what_changes_the_size_in_an_unknown_way_is_refused():
    net = capture(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Upsample(scale_factor=2), nn.ReLU()), (3, 8, 8))
    with pytest.raises(NotImplementedError, match="the window below upsample_nearest2d is not known"):
        cone(net, net.layers[-1].name, 3, 3)


def test_a_forward_pass_is_counted_up_to_the_layer_at_any_size(small_net):
    from counting import forward_multiply_adds

    net = capture(small_net, (3, 32, 32))
    first, second = 16 * 16 * 8 * 3 * 9, 8 * 8 * 12 * 8 * 9
    assert forward_multiply_adds(net, [net.layer("relu1")]) == first
    assert forward_multiply_adds(net, [net.layer("relu2")]) == first + second
    assert forward_multiply_adds(net) == first + second + 12 * 5
    assert forward_multiply_adds(net, [net.layer("relu1")], (8, 16)) == first // 8


class Reused(nn.Module):
    """One rectifier for three places, in place, as residual networks of the zoo have it."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        x = self.relu(self.first(x))
        return self.relu(self.second(x) + x)


@pytest.mark.parametrize("layer", ["relu", "relu_1"])
def test_all_sides_project_the_same(layer):
    from backlight_side import BacklightSide
    from peers import CaptumSide, NaiveSide, ZennitSide

    torch.manual_seed(0)
    model = Reused().eval()
    net, images = capture(model, (3, 9, 9)), torch.randn(2, 3, 9, 9)
    maps = net.features([net.layer(layer)])(images)[0]
    units = [Unit(layer, *(int(i) for i in (m == m.max()).nonzero()[0])) for m in maps]
    side, hits = BacklightSide(net, [net.layer(layer)]), list(enumerate(units))
    own = side.whole(images, hits) / side.values(images, hits)[:, None, None, None]
    assert own.abs().amax() > 0
    for other in (CaptumSide, NaiveSide, *([ZennitSide] if ZennitSide.is_installed() else [])):
        torch.testing.assert_close(other(model, layer)(images, units), own, rtol=1e-5, atol=1e-6)


def test_a_summary_counts_layers_by_their_maps():
    from projection_tables import summarise

    rows = [
        {"maps": 1, "backlight_ms": 1.0, "captum_ms": 8.0, "captum_difference": 1e-7, "floor_ms": 0.5},
        {"maps": 3, "backlight_ms": 2.0, "captum_ms": 4.0, "captum_difference": 1e-6, "floor_ms": 0.5},
        {"maps": 4, "backlight_ms": 5.0, "floor_ms": 0.5},  # Captum cannot reach this one
    ]
    rows = [row | {"layer": name} for name, row in zip("abc", rows, strict=True)]
    found = summarise(rows, {"layers": ["b", "c"], "backlight_ms": 1.5})
    assert found["build_ms"] == pytest.approx((1 + 3 * 1.5 + 4 * 1.5) / 8)
    assert found["build_captum_ratio"] == pytest.approx((8 + 3 * 4) / (1 + 3 * 1.5))
    assert summarise(rows)["build_ms"] == summarise(rows)["backlight_ms"]
    assert found["captum_ratio"] == pytest.approx((8 + 3 * 4) / (1 + 3 * 2))
    assert found["over_floor"] == pytest.approx((1 + 3 * 2 + 4 * 5) / (8 * 0.5))
    assert found["captum_difference"] == 1e-6


def test_a_line_is_fitted():
    from growth import fit_line

    found = fit_line([1, 2, 4], [5, 7, 11])
    assert (found["slope"], found["intercept"], found["r2"]) == pytest.approx((2, 3, 1))


def test_projection_runs():
    import projection
    import projection_tables

    settings = projection.Settings(
        ("alexnet",), images=2, units=2, peer_units=1, naive_units=1, batch_sizes=(1,), sgemm_sizes=SGEMM
    )
    found = projection.run(settings)
    (network,) = json.loads(json.dumps(found))["networks"]
    assert [row["maps"] for row in network["layers"]] == [64, 192, 384, 256, 256]
    assert network["summary"]["captum_difference"] < 1e-4
    header, rows = projection_tables.table(network)
    assert {len(row) for row in rows} == {len(header)}


@pytest.mark.skipif(not has_compiler(), reason="needs a C++ compiler")
def test_the_scan_runs(monkeypatch, small_net):
    import scan

    # compiled three times, of which a network of the zoo takes seconds each
    preprocessing = Preprocessing(None, (32, 32), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    net = capture(small_net.eval(), (3, 32, 32), preprocessing)
    monkeypatch.setattr(scan, "load_network", lambda name: (small_net, net, True))
    settings = scan.Settings(("small",), 3, batch_sizes=(2,), rounds=1, sgemm_sizes=SGEMM)
    found = json.loads(json.dumps(scan.run(settings)))
    (network,) = found["networks"]
    assert network["bare"] == max(rate for kind, rate in network["rates"].items() if kind.startswith("bare"))
    assert network["files_expected"] < min(network["bare"], network["rates"]["decode"])
    for header, rows in (scan.table([network]), scan.files_table([network])):
        assert {len(row) for row in rows} == {len(header)}


def test_decoding_is_compared_pixel_for_pixel():
    import decoding

    settings = decoding.Settings(images=1, rounds=1, sets=("500x375", "2000x1500"))
    found = json.loads(json.dumps(decoding.run(settings)))
    rows = {(row["set"], row["reader"]): row for row in found["rows"]}
    assert len(rows) == len(found["rows"]) == 2 * len(decoding.readers())
    for row in found["rows"]:
        counts = {row["same_pictures"], row["same_inputs"]}
        if row["reader"] == "Pillow, draft":  # a power of two still fits into the large pictures alone
            assert counts == {1 if row["set"] == "500x375" else 0}
            assert (row["largest"] > 0) is (row["set"] == "2000x1500")
        elif row["reader"] == "Pillow":
            assert (counts, row["largest"], row["load_ratio"]) == ({1}, 0, 1)
    header, cells = decoding.table(found["rows"])
    assert {len(row) for row in cells} == {len(header)}


@pytest.mark.skipif(not has_compiler(), reason="needs a C++ compiler")
def test_the_sweep_of_a_square_runs():
    import occlusion

    settings = occlusion.Settings(stride=192, images=2, batch_sizes=(2,), rounds=1, sgemm_sizes=SGEMM)
    (network,) = json.loads(json.dumps(occlusion.run(settings)))["networks"]
    assert network["positions"] == 4
    assert network["of_bare"] == pytest.approx(
        network["rates"]["sweep"] / max(rate for kind, rate in network["rates"].items() if kind != "sweep")
    )
    header, rows = occlusion.table([network])
    assert {len(row) for row in rows} == {len(header)}


def test_the_steps_of_an_inversion_run():
    import inversion

    settings = inversion.Settings(
        layers=("features.0",), recipes=("default",), restarts=(2,), steps=2, rounds=1, sgemm_sizes=SGEMM
    )
    (row,) = json.loads(json.dumps(inversion.run(settings)))["rows"]
    assert row["ratios"]["default"] == pytest.approx(row["rates"]["default"] / row["rates"]["bare"])
    header, rows = inversion.table([row])
    assert {len(own) for own in rows} == {len(header)}


def test_results_come_back_as_they_were_and_rows_have_a_line_each(tmp_path, monkeypatch):
    import common

    monkeypatch.setattr(common, "RESULTS", tmp_path)
    results = {"rows": [{"a": [1, 2.5]}, {"b": {"c": None}}], "empty": [], "counts": [1, 2], "text": "é\n"}
    path = common.write_results("part", results)
    assert common.read_results("part") == results
    assert '\n{"a": [1, 2.5]},\n{"b": {"c": null}}\n' in path.read_text()


def test_the_errors_of_inversions_go_on_where_they_were_stopped(tmp_path, monkeypatch):
    import common
    import inversion_errors

    monkeypatch.setattr(common, "RESULTS", tmp_path)
    recipe = inversion_errors.RECIPES["default"]
    short = partial(_of_three_steps, recipe)
    monkeypatch.setitem(inversion_errors.RECIPES, "default", short)
    settings = inversion_errors.Settings(
        layers=("features.0",), recipes=("default",), images=3, block=2, batch=2
    )
    first = inversion_errors.run(settings)
    assert len(first["rows"]) == 3
    (part,) = (path.stem for path in tmp_path.iterdir())
    assert part != inversion_errors.PART  # which holds the results of all photographs
    kept = common.read_results(part)
    lost = kept["rows"].pop()
    kept["rows"][0]["relative_error"] = 123.0  # what is there is not done again
    common.write_results(part, kept)
    second = inversion_errors.run(settings)
    assert second["rows"][0]["relative_error"] == 123.0
    assert second["rows"][2] == lost
    for header, rows in (inversion_errors.table(second), inversion_errors.way(second)):
        assert {len(own) for own in rows} == {len(header)}
    monkeypatch.setattr(inversion_errors, "REVISION", inversion_errors.REVISION + 1)
    inversion_errors._key.cache_clear()
    third = inversion_errors.run(settings)
    assert [len(third["rows"]), 123.0 in {row["relative_error"] for row in third["rows"]}] == [3, False]
    inversion_errors._key.cache_clear()


def test_the_table_of_errors_says_where_there_are_fewer_photographs():
    import inversion_errors

    row = {"normalised_error": 0.1, "normalised_squared_error": 0.01, "same_label": True, "steps": 3}
    rows = [{"layer": layer, "recipe": "default", **row} for layer in ("a", "b", "a")]
    found = {"settings": {"layers": ["a", "b", "c"], "recipes": ["default"]}, "rows": rows}
    header, (a, b, c) = inversion_errors.table(found)
    assert header[1] == "default (n = 2)"
    assert [own[1] for own in (a, b, c)] == ["10.0 ± 0.0", "10.0 (n = 1)", "–"]


def _of_three_steps(recipe, place, strength):
    whole = recipe(place, strength)
    return replace(whole, stages=(replace(whole.stages[0], steps=3),))


def test_a_full_build_and_growth_run():
    import full_build
    import growth

    layer = ("features.1",)
    full = full_build.run(full_build.Settings(images=2, maps=1, layers=layer, sgemm_sizes=SGEMM))
    assert (full["layers"], full["maps"], full["projections"]) == (1, 1, 2)
    parts = {name: own["seconds"] for name, own in full["phases"].items()}
    assert list(parts) == ["scan", "certify", "project", "light", "total"]
    assert parts.pop("total") == pytest.approx(sum(parts.values()))
    settings = growth.Settings("squeezenet1_0", (1, 2), (1, 2), 1, 1, layer, SGEMM)
    grown = json.loads(json.dumps(growth.run(settings)))
    assert [row["projections"] for row in grown["images"]["rows"]] == [1, 2]
    assert [row["maps"] for row in grown["maps"]["rows"]] == [1, 2]


@pytest.fixture
def small_site(tmp_path):
    """What the benchmark of the site measures on one layer with three pages of maps."""
    import web_site

    settings = replace(
        web_site.QUICK, layer="features.3.expand1x1_activation", layers=("features.3.expand1x1_activation",),
        maps=3, images=3, readers=3, requests=4, times=2, pages=5, passes=2, folder=str(tmp_path), sgemm_sizes=SGEMM,
    )  # fmt: skip
    return web_site.run(settings)


def test_the_site_is_measured(small_site):
    import report
    import web_site

    found = json.loads(json.dumps(small_site))
    assert (found["atlas"]["maps"], found["atlas"]["layer_maps"], found["atlas"]["images"]) == (3, 3, 3)
    for kind in ("cold", "warm"):
        own = found["readers"][kind]
        assert (own["requests"], own["errors"], own["first_errors"]) == (12, 0, [])
        assert own["rate"] == pytest.approx(12 / own["seconds"])
        assert own["median_ms"] <= own["late_ms"]
    assert found["page"]["sent_bytes"] < found["page"]["bytes"]
    assert found["export"]["files"] == found["atlas"]["addresses"]
    assert found["export"]["cpu_s"] > 0
    assert found["memory"]["addresses"] >= 5
    assert len(found["memory"]["resident_mb"]) == 3
    if found["scroll"] is not None:
        assert found["scroll"]["cards"] == 3
        assert found["scroll"]["late_ms"] <= found["scroll"]["longest_ms"]
        assert found["scroll"]["longest_task_ms"] > 0
    page = (BENCHMARKS.parent / "docs" / "performance.md").read_text()
    for own in (found, found | {"scroll": None}):
        header, rows = web_site.table(own)
        assert {len(row) for row in rows} == {len(header)}
        filled = report.fill(page, {web_site.PART: own})
        assert all(" | ".join(row) in filled for row in rows)


def test_the_page_says_what_the_site_and_the_studies_take():
    import report
    import studies
    import web_site
    from common import read_results

    page = (BENCHMARKS.parent / "docs" / "performance.md").read_text()
    found = {part: read_results(part) for part in (web_site.PART, studies.PART)}
    assert report.fill(page, found) == page
    site = found[web_site.PART]
    assert [site["readers"][kind]["errors"] for kind in ("cold", "warm")] == [0, 0]
    assert site["scroll"]["cards"] == site["atlas"]["layer_maps"] == 1000
    counted = (
        r"(\d+) pages and as many `\.json` twins, (\d+) sheets .*?, (\d+) of whole images, and (\d+) scripts"
    )
    counts = re.search(counted, page.replace("\n", " "))
    assert counts is not None
    pages, sheets, wholes, others = map(int, counts.groups())
    assert 2 * pages + sheets + wholes + others == site["export"]["files"]


def test_readers_ask_for_what_a_layer_shows_and_what_all_pages_have():
    import web_site

    of_all = "index.html static/backlight.js data/units.js"
    own = "layer-3.html layer-3--2.html maps-3--2.html wall-3.html data/cards-3--2.js sheets/3--1-band-patches.webp"
    others = "layer-33.html layer-1--3.html sheets/images--3.webp images--3.html layer-3.json index.json"
    asked = [path for path in f"{of_all} {own} {others}".split() if web_site.is_read(path, "3")]
    assert asked == f"{of_all} {own}".split()


def test_the_longest_task_is_that_of_a_page():
    from web_site_clients import longest_task_ms

    def task(pid, tid, **own):
        return {"name": "RunTask", "pid": pid, "tid": tid} | own

    names = [
        {"name": "thread_name", "pid": pid, "tid": tid, "args": {"name": name}}
        for pid, tid, name in ((1, 1, "CrRendererMain"), (1, 2, "Compositor"), (2, 1, "CrBrowserMain"))
    ]
    tasks = [
        task(1, 1, tdur=2000),
        task(1, 1, tdur=3500),
        task(1, 1),
        task(1, 2, tdur=9000),
        task(2, 1, tdur=9000),
    ]
    other = {"name": "Layout", "pid": 1, "tid": 1, "tdur": 8000}
    assert longest_task_ms([*names, *tasks, other]) == 3.5


def test_what_readers_are_refused_is_counted(tmp_path):
    import web_site_clients
    from fuzz.tiny import make_tiny_atlas

    make_tiny_atlas(tmp_path / "tiny.atlas")
    with web_site_clients.served(tmp_path / "tiny.atlas") as server:
        found = web_site_clients.reading(server.address, ["index.html", "none.js"], 2, 8)
        assert server.resident_mb() > 10
    assert found["requests"] == 16
    assert 0 < found["errors"] < 16
    assert set(found["first_errors"]) == {"none.js: 404"}


def test_the_cost_of_a_study_is_compared_with_another_checkout(tmp_path, monkeypatch):
    import report
    import studies

    root = BENCHMARKS.parent
    settings = replace(studies.QUICK, images=3, layer="features.1", sgemm_sizes=SGEMM)
    (row,) = studies.run(settings)["rows"]
    assert (row["checkout"], row["hits"], row["ratio"]) == ("here", 1, 1.0)
    assert row["cpu_ms"] == pytest.approx(1000 * row["cpu_s"] / row["methods"])
    # what ran was the code of this checkout, and not of the one that was asked for
    printed = json.dumps(row | {"package": str(root / "src" / "backlight")})
    monkeypatch.setattr(studies.subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=printed))
    with pytest.raises(RuntimeError, match="was to be measured, but Python imported"):
        studies.run(replace(settings, against=tmp_path))
    monkeypatch.undo()
    other = row | {"checkout": "other", "ratio": 1.0, "cpu_ms": 2 * row["cpu_ms"]}
    found = {"settings": {**vars(settings)}, "load": 1.0, "rows": [row | {"ratio": 0.5}, other]}
    header, rows = studies.table(found)
    assert {len(own) for own in rows} == {len(header)}
    page = (root / "docs" / "performance.md").read_text()
    assert " | ".join(rows[0]) in report.fill(page, {studies.PART: found})


def test_memory_runs():
    import memory

    found = memory.run(memory.Settings(("squeezenet1_0",), (2,), maps=1, sgemm_sizes=SGEMM))
    (row,) = found["networks"][0]["rows"]
    assert row["images"] == 2
    assert row["all_mb"] >= row["peak_mb"] >= row["loaded_mb"] > 50


def test_the_bare_convolutions_are_those_of_inference(monkeypatch):
    import adaptive
    from backlight.adaptive import PRESETS, AdaptiveDeconvNet
    from backlight.adaptive import operators as library

    net, images = AdaptiveDeconvNet(PRESETS["small"]), torch.randn(2, 1, 64, 64)
    codes = net.infer(images)
    seen: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = []
    for name in ("paint", "match"):
        monkeypatch.setattr(library, name, partial(_noting, seen, name, getattr(library, name)))
        monkeypatch.setattr(adaptive, name, getattr(library, name))
    for layer, count in ((1, 19), (2, 38)):
        how = adaptive.steps_of(net.config.layers[layer - 1], float(net.squared_norms[layer - 1]))
        whole = adaptive.Reconstruction(net.filters[:layer], codes.below(layer))
        adaptive.settle(images, whole, how, net.config.steps)
        assert len(seen) == count
        real = seen.copy()
        seen.clear()
        adaptive.bare(net, images, layer, "own")()
        assert seen == real
        seen.clear()


def _noting(seen, name, call, maps, filters):
    seen.append((name, tuple(maps.shape), tuple(filters.shape)))
    return call(maps, filters)


def test_both_kinds_of_bare_convolution_give_the_same():
    import adaptive

    z, maps, filters = torch.randn(2, 9, 20, 21), torch.randn(2, 1, 16, 17), torch.randn(9, 1, 5, 5)
    for way, values in ((0, z), (1, maps)):
        plain, own = (adaptive.BARE[kind][way](values, filters)() for kind in ("plain", "own"))
        torch.testing.assert_close(plain, own, rtol=1e-4, atol=1e-5)


def test_adaptive_networks_run():
    import adaptive
    import report

    settings = replace(adaptive.QUICK, counts=(2,), sgemm_sizes=SGEMM)
    found = json.loads(json.dumps(adaptive.run(settings)))
    assert [row["convolutions"] for row in found["rows"]] == [19, 38]
    row = found["rows"][1]
    assert row["ratios"]["plain"] == pytest.approx(row["rates"]["settle"] / row["rates"]["plain"])
    per_image = (
        3 * 34 * 34 * (4 + 1)
    )  # of the first layer; the second holds 12 * 19 * 19 * 5 and those switches
    assert found["training"][0]["codes_mb"] == pytest.approx(
        2 * max(per_image, 12 * 19**2 * 5 + 3 * 34**2) / 1e6
    )
    tables = [adaptive.table(found), adaptive.inference_table(found), adaptive.training_table(found)]
    for header, rows in tables:
        assert {len(own) for own in rows} == {len(header)}
    page = (BENCHMARKS.parent / "docs" / "performance.md").read_text()
    filled = report.fill(page, {"adaptive": found})
    assert all(" | ".join(rows[0]) in filled for _, rows in tables)


def test_the_page_asks_for_known_tables_and_is_filled():
    import report

    page = (BENCHMARKS.parent / "docs" / "performance.md").read_text()
    assert report.fill(page, {}) == page
    rows = [{"images": 2, "maps": 1, "projections": 2, "total_s": 3.0, "scan_s": 1.0, "project_s": 2.0}]
    found = {along: {"rows": rows} for along in ("images", "maps")}
    filled = report.fill(page, {"growth": found})
    assert filled.count("| 2 | 1 | 2 | 3.00 | 1.00 | 2.00 |") == 2
    assert report.fill(filled, {"growth": found}) == filled


def test_the_page_of_inversions_says_what_was_measured():
    import inversion_errors
    import report
    from common import read_results

    found = read_results(inversion_errors.PART)
    page = (BENCHMARKS.parent / "docs" / "inversion.md").read_text()
    assert report.fill(page, {inversion_errors.PART: found}) == page
    net, _ = inversion_errors._network(found["settings"]["network"])
    keys = {(row["layer"], row["recipe"], row["key"]) for row in found["rows"]}
    assert keys == {(layer, recipe, inversion_errors._key(net, layer, recipe)) for layer, recipe, _ in keys}
    header, rows = inversion_errors.table(found)
    names = [name.partition(" (n = ") for name in header[1::3]]
    assert [name for name, _, _ in names] == ["default", "wide", "ijcv2016", "cvpr2015"]
    counts = [int(n.rstrip(")")) for _, _, n in names]
    assert counts == [100] * 4
    bounds = dict.fromkeys(("features.0", "features.3.cat", "features.4.cat"), 10)
    bounds |= dict.fromkeys(("features.7.cat", "features.9.cat", "features.12.cat", "classifier.1"), 20)
    means = {row[0].strip("`"): [float(cell.split()[0]) for cell in row[1::3]] for row in rows}
    assert all(means[layer][0] <= bound for layer, bound in bounds.items())
    assert all(max(own) < min(published) for *own, a, b in means.values() for published in ((a, b),))
    still = Counter(
        row["layer"]
        for row in found["rows"]
        if row["recipe"] == "cvpr2015" and row["way"][1] == row["way"][2]
    )
    last = sorted(still[layer] for layer in ("features.12.cat", "classifier.1", "classifier.3"))
    assert f"{last[0]} to {last[-1]} of 100 photographs do not improve\nbetween steps 50 and 100" in page


def test_the_default_is_nearer_than_the_published_recipes_after_as_many_steps():
    import inversion_errors
    from common import read_results

    _, rows = inversion_errors.way(read_results(inversion_errors.PART))
    for default, _, *published in zip(*(rows[i::4] for i in range(4)), strict=True):
        assert default[1] == "default"
        for cells in zip(default[3:], *(row[3:] for row in published), strict=True):
            assert not cells[0] or float(cells[0]) < min(map(float, cells[1:]))


def evidence_rows():
    """Two layers of a network, over which one rule set is surely better, and another worse in one of them."""
    rows = []
    for place, layer in enumerate(("low", "top")):
        for rules, change, p in (
            ("deconvnet", 0.0, 1.0),
            ("masked", 0.2, 0.001),
            ("guided", -0.1, 0.002 if place else 0.5),
        ):
            row = {
                "network": "squeezenet",
                "place": place,
                "layer": layer,
                "rules": rules,
                "n": 12,
                "disc": 0.5,
            }
            for name in ("fall", "gain", "foretold", "partial"):
                row |= {name: 0.5 + change, f"{name}_change": change, f"{name}_p": p}
            rows.append(row)
    return {"rows": rows}


def test_the_page_of_evidence_counts_layers_that_are_surely_better_or_worse():
    import evidence
    import evidence_tables
    import report

    found = evidence_rows()
    header, rows = evidence_tables.changes_table(found)
    assert header[:3] == ["rules", "layers", "fall"]
    assert rows == [["masked", "2", *["2 better, 0 worse"] * 3], ["guided", "2", *["0 better, 1 worse"] * 3]]
    page = (BENCHMARKS.parent / "docs" / "evidence.md").read_text()
    filled = report.fill(page, {evidence.PART: found})
    assert "| masked | 2 | 2 better, 0 worse |" in filled
    assert "| top | 12 | 50 | 50, +50, 0.50 | 70, +70, 0.70 | **40**, +40, 0.40 | – |" in filled


def test_the_page_of_evidence_says_what_was_measured():
    import evidence
    import report
    from common import read_results

    found = read_results(evidence.PART)
    assert found is not None
    page = (BENCHMARKS.parent / "docs" / "evidence.md").read_text()
    assert report.fill(page, {evidence.PART: found}) == page
    for part in ("rows", "sanity"):
        assert {row["network"] for row in found[part]} >= {"squeezenet"}


def test_the_prose_of_evidence_counts_what_was_measured():
    import evidence
    import evidence_tables
    from common import read_results

    results = read_results(evidence.PART)
    page = " ".join((BENCHMARKS.parent / "docs" / "evidence.md").read_text().split())
    rows = evidence_tables.joined(results)
    own = {rules: [row for row in rows if row["rules"] == rules] for rules in evidence_tables.SHOWN}
    failed = {
        (rules, kind): [row for row in own[rules] if fails(row)]
        for rules in own
        for kind, (_, fails) in evidence_tables.FAILURES.items()
    }
    n_layers, count = len(own["deconvnet"]), {key: len(rows) for key, rows in failed.items()}
    _, changes = evidence_tables.changes_table(results)
    changed = {row[0]: [cell.split()[::2] for cell in row[2:]] for row in changes}
    like = [row["all"]["spearman"][0] for row in own["guided"]]
    known = [row for row in own["guided"] if row["all"]["spearman"][1] is not None]
    unpooled = {"average", "strided", "residual", "depthwise"}
    assert not unpooled & {row["network"] for row in failed["deconvnet", "all"]}
    assert all(float(worse) == 0 for _, worse in changed["guided"])
    assert all(float(worse) == 0 for _, worse in changed["masked"])
    assert min(row["place"] for kind in ("gain", "partial") for row in failed["deconvnet", kind]) == 1
    for network in ("squeezenet", "demo", "residual"):
        assert sum(row["network"] == network for row in failed["deconvnet", "top"]) == 5
    assert [row["network"] for row in own["deconvnet"] if row["gain_high"] < 0] == ["demo"]
    means = {
        rules: [sum(row[name] for row in rows) / len(rows) for name in ("fall", "gain", "partial")]
        for rules, rows in own.items()
    }
    assert all(
        max(column) == best
        for column, best in zip(zip(*means.values(), strict=True), means["guided"], strict=True)
    )
    assert min(means, key=lambda rules: means[rules][2]) == "gradient"
    lost = max(
        row["fall"] - other["fall"] for row, other in zip(own["deconvnet"], own["guided"], strict=True)
    )
    for text in (
        f"In {n_layers - count['deconvnet', 'gain']} of {n_layers} layers the deconvnet's picture surely tells",
        f"In {n_layers - count['deconvnet', 'partial']} it foretells",
        f"In {count['deconvnet', 'fall']} layers a plain disc around the middle",
        f"its fall is surely larger in {changed['guided'][0][0]} layers",
        f"its gain in {changed['guided'][1][0]}",
        f"like those of random weights in {count['guided', 'all']} of {len(known)} layers**",
        f"rank correlations of {sum(like) / len(like):.2f} on average",
        f"in {count['guided', 'top']} of {n_layers} they stay",
        f"whose switches carry the image ({count['deconvnet', 'all']} layers, correlations of up to "
        f"{max(row['all']['spearman'][0] for row in failed['deconvnet', 'all']):.2f})",
        f"it stays in {count['deconvnet', 'top']} layers",
        f"wholly with the weights in all layers but {count['gradient', 'all']}",
        f"foretells surely less than the deconvnet in {changed['gradient'][2][1]} layers, and more in "
        f"{changed['gradient'][2][0]}.",
        f"`masked` is nowhere surely worse; its fall is surely larger in {changed['masked'][0][0]} layers",
        f"lose up to {100 * lost:.0f} points",
    ):
        assert text in page


def with_sanity(results, *, like=(0.6, -0.1)):
    """The same with sanity of two rule sets: by layer how alike the picture is to that of random weights."""
    checked = [
        {"network": "squeezenet", "place": place, "layer": layer, "rules": rules, "n": 8}
        | {check: {"spearman": [mean, mean - 0.2, mean + 0.2]} for check in ("top", "all")}
        | {"switches": {"spearman": [None, None, None] if layer == "low" else [0.5, 0.3, 0.7]}}
        for rules in ("deconvnet", "guided")
        for place, (layer, mean) in enumerate(zip(("low", "top"), like, strict=True))
    ]
    return results | {"sanity": checked}


def test_the_tables_of_evidence_show_sanity_beside_what_else_was_measured():
    import evidence_tables

    found = with_sanity(evidence_rows())
    _, rows = evidence_tables.layers_table(found, "squeezenet")
    assert rows[0][3:6] == ["50, +50, 0.50, **0.60**", "70, +70, 0.70", "**40**, +40, 0.40, **0.60**"]
    assert rows[1][3:6] == ["50, +50, 0.50, -0.10", "70, +70, 0.70", "**40**, +40, 0.40, -0.10"]
    header, rows = evidence_tables.sanity_table(found)
    assert header == ["network", "deconvnet", "guided", "gradient"]
    assert rows == [["squeezenet", *["0.25, 0.25, 0.50"] * 2, "–, –, –"]]


def test_failures_are_counted_and_bold_where_they_were_measured():
    import evidence_tables

    found = evidence_rows()
    low, top = (row for row in found["rows"] if row["rules"] == "guided")
    low |= {"gain_low": 0.0, "partial_low": 0.1}
    top |= {"gain_low": 0.1, "partial_low": None, "fall": 0.5}
    _, rows = evidence_tables.failures_table(with_sanity(found, like=(0.49, 0.5)))
    assert rows[0] == ["deconvnet", "0 of 2", "–", "–", "1 of 2", "2 of 2", "1 of 1"]
    assert rows[1] == ["masked", "0 of 2", *["–"] * 5]
    # a fall as large as the disc's is none; an interval that begins at zero is not above it; 0.5 has stayed
    assert rows[2] == ["guided", "1 of 2", "1 of 2", "0 of 1", "1 of 2", "2 of 2", "1 of 1"]
    _, rows = evidence_tables.failures_table(with_sanity(found, like=(0.2, 0.21)))
    assert rows[2][5] == "1 of 2"  # an interval that begins at zero is not surely above it
    _, (below, _) = evidence_tables.layers_table(found, "squeezenet")
    assert below[5] == "**40**, **+40**, 0.40"


@pytest.fixture
def small_evidence(monkeypatch, tmp_path):
    """A small network and random pictures stand for every network, and results are kept elsewhere."""
    import common
    import evidence
    import low_pass

    generator = torch.Generator().manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3), nn.ReLU())
    for own in body.parameters():
        own.data.normal_(0, 0.4, generator=generator)
    pictures = [
        Image.fromarray(torch.randint(0, 256, (20, 20, 3), dtype=torch.uint8, generator=generator).numpy())
        for _ in range(6)
    ]
    preprocessing = Preprocessing(None, (20, 20), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    net = capture(body.eval(), (3, 20, 20), preprocessing)
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    for part in (evidence, low_pass):
        monkeypatch.setattr(part, "load", lambda name, count: (net, SequenceSource(pictures[:count])))
        monkeypatch.setattr(part, "sgemm_gflops", lambda: 1.0)
    return replace(evidence.QUICK, layers=2, images=5, hits=2)


def test_evidence_is_measured_on_a_small_network(small_evidence):
    import common
    import evidence

    evidence.main(small_evidence)
    rows = common.read_results(evidence.PART)["rows"]
    assert [(row["layer"], row["rules"]) for row in rows] == [
        (layer, rules) for layer in ("1", "4") for rules in ("deconvnet", "guided", "gradient", "masked")
    ]
    # the masks of two levels are those of both layers: in the lower one nothing else is masked than its own unit
    assert rows[3]["fall"] == rows[0]["fall"]
    assert all(row["fall_change"] == 0 for row in rows if row["rules"] == "deconvnet")
    evidence.main(small_evidence)  # nothing is studied again
    assert common.read_results(evidence.PART)["rows"] == rows


def test_sanity_is_added_to_what_was_measured_before(small_evidence, monkeypatch):
    import common
    import evidence
    import evidence_sanity

    evidence.main(small_evidence)
    first = common.read_results(evidence.PART)
    checked = first["sanity"]
    assert [(row["layer"], row["rules"]) for row in checked] == [
        (layer, rules) for layer in ("1", "4") for rules in ("deconvnet", "guided", "gradient")
    ]
    for row in checked:
        assert all(-1 <= row[check]["spearman"][0] <= 1 for check in ("top", "all"))
        assert (row["switches"]["spearman"][0] is None) == (row["layer"] == "1")  # no pool below it
    # below the first layer there are no other weights than its own
    assert all(row["top"] == row["all"] for row in checked[:3])
    assert checked[3]["top"] != checked[3]["all"]

    first["rows"][0]["fall"] = 123.0  # what is there is not measured again
    common.write_results(evidence.PART, first | {"sanity": []})
    evidence.main(small_evidence)
    assert common.read_results(evidence.PART)["rows"] == first["rows"]
    assert common.read_results(evidence.PART)["sanity"] == checked

    monkeypatch.setitem(evidence_sanity.SETTINGS, "maps", 2)
    evidence.main(small_evidence)
    found = common.read_results(evidence.PART)
    assert {row["n"] for row in found["sanity"]} == {2}
    assert found["rows"] == first["rows"]


def test_a_low_pass_is_measured_by_network_and_kept(small_evidence):
    import common
    import low_pass

    settings = replace(low_pass.QUICK, layers=2, images=5)
    low_pass.main(settings)
    first = common.read_results(low_pass.PART)
    assert [(row["layer"], row["box"], row["rules"]) for row in first["rows"]] == [
        (layer, box, rules) for layer in ("1", "4") for box in (0.5, 1.0) for rules in ("deconvnet", "guided")
    ]
    # a box of one pixel changes nothing: half of a stride of two, and any of a stride of one
    strides = {"1": 1.0, "4": 2.0}
    for row in first["rows"]:
        assert row["stride"] == strides[row["layer"]]
        assert (row["partial_change"] != 0) == (row["layer"] == "4" and row["box"] == 1.0)
    first["rows"][0]["partial"] = 123.0
    common.write_results(low_pass.PART, first)
    low_pass.main(replace(settings, networks=("residual", "strided")))
    rows = common.read_results(low_pass.PART)["rows"]
    assert rows[:8] == first["rows"]
    assert [row["network"] for row in rows[8:]] == ["strided"] * 8


def test_the_table_of_low_passes_says_which_changes_are_sure():
    import low_pass

    rows = [
        {"network": "demo", "layer": layer, "stride": stride, "rules": rules, "box": box}
        | {"partial": 0.5, "partial_change": -0.1, "partial_p": 0.02 if rules == "guided" else 0.9}
        for layer, stride in (("a", 1.0), ("b", 4.0))
        for box in low_pass.BOXES
        for rules in low_pass.RULES
    ]
    header, (low, top) = low_pass.table({"rows": rows})
    assert header == ["network", "layer", "stride", "deconvnet", "guided"]
    assert low == ["demo", "`a`", "1", *["0.50, -0.10, -0.10"] * 2]
    # corrected for four tests, not for eight: boxes of one pixel are no tests
    assert top == ["demo", "`b`", "4", "0.50, -0.10, -0.10", "0.50, -0.10 (sure), -0.10 (sure)"]


def test_the_table_of_sound_maps_counts_accusations_and_what_so_few_maps_can_show():
    import sound_maps

    carried = [0.0] * 57 + [0.1, 0.4, None]
    rows = [{"carried": own, "times": None if own is None else 3.0} for own in carried]
    header, (row,) = sound_maps.table({"rows": rows})
    assert len(row) == len(header)
    assert row == ["59", "0.0%", "0.0%", "40.0%", "0", "5.0%", "3.0"]
    header, (row,) = sound_maps.table({"rows": [*rows, {"carried": 0.5, "times": 1.0}]})
    assert (row[0], row[4], row[5]) == ("60", "1", "–")


def test_the_page_says_what_sound_maps_have():
    import report
    import sound_maps
    from common import read_results

    found = read_results(sound_maps.PART)
    page = (BENCHMARKS.parent / "docs" / "inversion.md").read_text()
    assert report.fill(page, {sound_maps.PART: found}) == page
    assert len({(row["layer"], row["channel"]) for row in found["rows"]}) == len(found["rows"]) > 40


def test_rounding_is_measured_against_float64(monkeypatch):
    import rounding
    from backlight import Preprocessing
    from conftest import captured_small_net

    monkeypatch.setattr(rounding, "network", lambda _: captured_small_net(Preprocessing.default(3, 32)))
    found, alone = rounding.measure("small", [rounding.Way("default"), rounding.Way("default", at_once=1)], 3)
    assert (found["way"], alone["way"]) == ("default", "default, one image at a time")
    assert (found["layers"], found["maps"], found["side"]) == (7, 65, 32)
    assert 1e-9 < found["median"] <= found["worst"] < 1e-5
    assert found["worst"] <= found["of_own_peak"]


def test_the_bound_of_rounding_is_four_times_what_the_page_shows():
    import report
    import rounding
    from backlight.scan.certain import BOUND
    from common import read_results

    found = read_results(rounding.PART)
    page = (BENCHMARKS.parent / "docs" / "reliability.md").read_text()
    assert report.fill(page, {rounding.PART: found}) == page
    assert found["bound"] == BOUND >= 4 * rounding.largest(found)
    assert {row["network"] for row in found["rows"]} == set(rounding.Settings().networks)
    assert {row["way"] for row in found["rows"]} >= {"default", "avx2", "avx512, 2 threads"}


def test_the_page_says_what_low_passes_change():
    import low_pass
    import report
    from common import read_results

    found = read_results(low_pass.PART)
    whole_page = (BENCHMARKS.parent / "docs" / "evidence.md").read_text()
    assert report.fill(whole_page, {low_pass.PART: found}) == whole_page
    page = " ".join(whole_page.split())
    rows = zip(found["rows"], low_pass.sure(found["rows"], "partial"), strict=True)
    tested = [own for own in rows if round(own[0]["box"] * own[0]["stride"]) > 1]
    (half, gains), (whole, losses) = (
        (
            [row for row, _ in tested if row["box"] == box],
            [row for row, own in tested if own and row["box"] == box],
        )
        for box in low_pass.BOXES
    )
    assert {row["rules"] for row in gains} == {"guided"}
    assert {row["network"] for row in gains} <= {"strided", "residual"}
    assert {row["stride"] for row in losses} == {2}
    changes = [row["partial_change"] for row in half]
    for text in (
        f"Over half a stride, {len(gains)} of {len(half)} changes are sure, both gains and both of guided pictures "
        f"(up to {max(row['partial_change'] for row in gains):+.2f}).",
        f"The mean change is {sum(changes) / len(changes):+.2f}.",
        f"Over a whole stride, {len(losses)} of {len(whole)} changes are sure, both losses "
        f"(up to {min(row['partial_change'] for row in losses):.2f})",
    ):
        assert text in page
    assert min(row["partial_change"] for row in gains) > 0 > max(row["partial_change"] for row in losses)
    sizes = {name: (own["maps"], own["hits"]) for name, own in found["settings"].items()}
    assert sizes.pop("demo") == (12, 1)
    assert set(sizes.values()) == {(24, 3)}


def test_a_soak_tells_growth_and_falling_rates():
    import soak

    times = [0.5 * i for i in range(100)]
    assert soak.growth(times, [200.0] * 100) == pytest.approx(0, abs=1e-9)
    # A line that rises by 1 MB a sample: 74 of them in the last three quarters, whose mean is 262.
    assert soak.growth(times, [200.0 + i for i in range(100)]) == pytest.approx(74 / 262, rel=0.01)
    steady = [(0.1 * i, 10 * i) for i in range(1, 91)]
    assert soak.linearity(steady) == pytest.approx(1)
    slow = [(seconds if images <= 600 else 6 + 2 * (seconds - 6), images) for seconds, images in steady]
    assert soak.linearity(slow) == pytest.approx(0.5, rel=0.05)


def test_what_stations_gain_is_told_against_this_process():
    import engines

    rows = [
        {
            "contestant": name,
            "seconds": s,
            "least": s,
            "most": s * 1.1,
            "images_per_s": 100 / s,
            "against_this_process": s / 10,
        }
        for name, s in (("this process", 10.0), ("Ray, 2 stations", 5.0))
    ]
    _, table = engines.table({"rows": rows})
    assert [row[0] for row in table] == ["this process", "Ray, 2 stations"]
    assert table[1][2:] == ["0.50", "0.50", "0.55"]
