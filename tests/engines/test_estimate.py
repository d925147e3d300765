"""What a build will cost: seconds by a clock that ticks once a reading, so that each timed pass takes one."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest
import torch
from torch import nn

from atlas.files import make_network
from backlight import Preprocessing, capture, plan_build
from backlight.atlas import execute
from backlight.engines.estimate import estimate
from backlight.engines.probing import Clock, Span
from backlight.engines.work import projected_together
from backlight.projection import inputs_at_once
from conftest import make_pictures

WHOLE_SECONDS = 0.01


def ticking() -> Clock:
    """Return a clock that ticks once a reading: each pass takes a second, and is not repeated."""
    seconds = count()
    return lambda: float(next(seconds))


@pytest.mark.parametrize(("n_images", "n_timed"), [(40, 8), (3, 3)])
def test_a_few_images_are_scanned_and_stand_for_all(tmp_path: Path, n_images: int, n_timed: int) -> None:
    plan = plan_build(make_network(), make_pictures(tmp_path / "p", n_images), ["relu1"], top=1)
    found = estimate(plan, ticking())
    assert found.scan.low == pytest.approx(n_images / n_timed)
    assert found.scan.high == pytest.approx(1.5 * n_images / n_timed)
    assert list(tmp_path.iterdir()) == [tmp_path / "p"]


def test_where_whole_images_are_run_each_costs_a_pass_once(tmp_path: Path) -> None:
    plan = plan_build(make_network(), make_pictures(tmp_path / "p", 3), ["relu1", "relu2", "fc"], top=9)
    ((_, layers, crops),) = projected_together(plan, [[0, 1, 2]] * 3)
    assert (layers, crops) == ([0, 1, 2], None)
    # Sixteen units take as long as one: further units cost nothing but their tiles, a second each.
    assert estimate(plan, ticking()).project.low == pytest.approx(3 + plan.n_projections)


def test_where_crops_are_run_each_hit_costs_its_share_of_a_pass(tmp_path: Path) -> None:
    net = make_network()
    plan = plan_build(net, make_pictures(tmp_path / "p", 3), ["relu1"], top=3)
    ((_, _, crops),) = projected_together(plan, [[0, 1, 2]])
    assert crops is not None
    passes = plan.n_projections / inputs_at_once(net, crops, 8)
    assert estimate(plan, ticking()).project.low == pytest.approx(passes + plan.n_projections)


def test_images_of_hits_are_run_again_to_certify_them_and_in_float64_where_they_are_close(
    tmp_path: Path,
) -> None:
    plan = plan_build(make_network(), make_pictures(tmp_path / "p", 40), ["relu1"], maps=2, top=4)
    found = estimate(plan, ticking())
    # Eight hits fall on fewer than eight of forty images.
    assert 0 < plan.n_hit_images < 8
    assert found.certify.low == pytest.approx(plan.n_hit_images / 8)
    assert found.certify.high == pytest.approx(plan.n_hit_images * (1.5 / 8 + 1.5 / 4))


def test_bands_and_whole_images_cost_in_proportion_to_projections_and_to_the_scan(tmp_path: Path) -> None:
    folder, net = make_pictures(tmp_path / "p", 3), make_network()
    plain, both, without = (
        estimate(plan_build(net, folder, ["relu1"], top=3, bands=bands, wholes=wholes), ticking())
        for bands, wholes in ((False, True), (True, True), (False, False))
    )
    assert (plain.band, without.light) == (Span(), Span())
    # Three images have three hits of each map, and at most three examples.
    assert both.band.low == pytest.approx(both.project.low)
    assert plain.light.low == pytest.approx(plain.scan.low + 3 * WHOLE_SECONDS)
    assert both.light == plain.light
    assert without.file_bytes < plain.file_bytes < both.file_bytes
    assert plain.total == plain.scan + plain.certify + plain.project + plain.light


@pytest.mark.parametrize("channels", [1, 3])
def test_the_file_is_about_as_large_as_it_is_said_to_be(tmp_path: Path, channels: int) -> None:
    """Two layers whose tiles are packed well and badly: at a pixel of noise each, and in a smooth picture."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(channels, 4, 9), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 25), nn.ReLU()
    )
    net = capture(model, (channels, 96, 96), Preprocessing.default(channels, 96))
    plan = plan_build(net, make_pictures(tmp_path / "p", 24, (96, 96)), ["1", "4"], top=9)
    size = execute(plan, tmp_path / "a.atlas").path.stat().st_size
    assert estimate(plan, ticking()).file_bytes / size == pytest.approx(1, abs=0.35)
