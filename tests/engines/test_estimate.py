"""What a build will cost: seconds by a clock that ticks once a reading, so that each timed pass takes one."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from atlas.files import make_network
from backlight import plan_build
from backlight.engines.estimate import estimate
from backlight.engines.work import projected_together
from backlight.projection import inputs_at_once
from conftest import make_pictures

TILE_SECONDS, WHOLE_SECONDS = 0.003, 0.01


@pytest.fixture(autouse=True)
def _a_second_between_readings(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = count()
    monkeypatch.setattr("backlight.engines.estimate.perf_counter", lambda: float(next(seconds)))


@pytest.mark.parametrize(("n_images", "n_timed"), [(40, 8), (3, 3)])
def test_a_few_images_are_scanned_and_stand_for_all(tmp_path: Path, n_images: int, n_timed: int) -> None:
    plan = plan_build(make_network(), make_pictures(tmp_path / "p", n_images), ["relu1"], top=1)
    found = estimate(plan)
    assert found.scan_seconds == pytest.approx(n_images / n_timed)
    assert found.file_bytes == plan.file_bytes
    assert list(tmp_path.iterdir()) == [tmp_path / "p"]


def test_where_whole_images_are_run_each_costs_a_pass_once(tmp_path: Path) -> None:
    plan = plan_build(make_network(), make_pictures(tmp_path / "p", 3), ["relu1", "relu2", "fc"], top=9)
    ((_, layers, crops),) = projected_together(plan, [[0, 1, 2]] * 3)
    assert (layers, crops) == ([0, 1, 2], None)
    # Sixteen units take as long as one: further units cost nothing but their tiles.
    assert estimate(plan).projection_seconds == pytest.approx(3 + plan.n_projections * TILE_SECONDS)


def test_where_crops_are_run_each_hit_costs_its_share_of_a_pass(tmp_path: Path) -> None:
    net = make_network()
    plan = plan_build(net, make_pictures(tmp_path / "p", 3), ["relu1"], top=3)
    ((_, _, crops),) = projected_together(plan, [[0, 1, 2]])
    assert crops is not None
    passes = plan.n_projections / inputs_at_once(net, crops, 8)
    assert estimate(plan).projection_seconds == pytest.approx(passes + plan.n_projections * TILE_SECONDS)


def test_bands_and_whole_images_cost_in_proportion_to_projections_and_to_the_scan(tmp_path: Path) -> None:
    folder, net = make_pictures(tmp_path / "p", 3), make_network()
    plain, both, without = (
        estimate(plan_build(net, folder, ["relu1"], top=3, bands=bands, wholes=wholes))
        for bands, wholes in ((False, True), (True, True), (False, False))
    )
    assert (plain.band_seconds, without.light_seconds) == (0, 0)
    # Three images have three hits of each map, and at most three examples.
    assert both.band_seconds == pytest.approx(both.projection_seconds)
    assert plain.light_seconds == pytest.approx(plain.scan_seconds + 3 * WHOLE_SECONDS)
    assert both.light_seconds == plain.light_seconds
    assert without.file_bytes < plain.file_bytes < both.file_bytes
