"""The rivals that the page of inversions compares with: each descends as its authors say."""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from backlight.inversion import RECIPES, Place, Recipe
from backlight.inversion.priors import TotalVariation
from backlight.studies.intervals import mean_interval

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SIDE = 16


@pytest.fixture
def rivals(benchmarks: Path) -> ModuleType:
    """Return the benchmark, which lies outside the package."""
    return importlib.import_module("inversion_rivals")


def bowl(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cost of images (n, 3, h, w) and its gradient: a quadratic a hundred times as steep along rows."""
    scales = torch.linspace(1, 100, x.shape[-2], dtype=x.dtype).view(1, 1, -1, 1)
    away = x - 20
    return (scales * away.square()).flatten(1).sum(1), 2 * scales * away


def test_l_bfgs_finds_the_bottom_of_a_steep_valley_of_each_image_alone(rivals: ModuleType) -> None:
    start = torch.randn(2, 3, SIDE, SIDE, dtype=torch.float64) * 30
    start[1] *= 3
    both, alone = start, start[1:]
    step, own = rivals.Limited().start(120), rivals.Limited().start(120)
    first = bowl(start)[0]
    for _ in range(120):
        both = step(both, *bowl(both))
        alone = own(alone, *bowl(alone))
    assert float((bowl(both)[0] / first).max()) < 1e-6
    torch.testing.assert_close(both[1:], alone)


def test_what_is_computed_from_parameters_descends_by_their_gradient(rivals: ModuleType) -> None:
    aim = torch.rand(1, 3, SIDE, SIDE) * 100 - 50
    x = torch.randn(1, 3, SIDE, SIDE) * 2
    step, costs = rivals.fourier(0.1).start(150), []
    for _ in range(150):
        costs.append(float((x - aim).square().sum()))
        x = step(x, torch.zeros(1), 2 * (x - aim))
        assert float(x.min()) >= -127.5
        assert float(x.max()) <= 127.5
    assert costs[-1] < 0.3 * costs[0]


def test_the_first_image_of_fourier_is_the_start(rivals: ModuleType) -> None:
    x = torch.rand(1, 3, SIDE, SIDE) * 100 - 50
    first = rivals.fourier(0.1).start(10)(x, torch.zeros(1), torch.zeros_like(x))
    torch.testing.assert_close(first, x, atol=1e-2, rtol=1e-3)


def test_magnitude_constrained_descent_never_changes_the_magnitudes(rivals: ModuleType) -> None:
    x = torch.randn(1, 3, SIDE, SIDE)
    aim = torch.randn(1, 3, SIDE, SIDE) * 40
    step = rivals.constrained(0.3).start(20)
    mixing = torch.linalg.inv(torch.tensor(rivals.NATURAL_MIXING))
    distances = []
    for _ in range(20):
        x = step(x, torch.zeros(1), 2 * (x - aim))
        distances.append(float((x - aim).square().sum()))
        found = torch.fft.rfft2(rivals.mixed(x, mixing)).abs()
        # the columns of frequency 0 and of the highest frequency mirror themselves, so that phases may cancel there
        torch.testing.assert_close(
            found[..., 1:-1], rivals.magnitudes(SIDE)[None, ..., 1:-1], rtol=2e-3, atol=0.1
        )
    assert distances[-1] < distances[0]


@pytest.mark.parametrize("name", ["adam", "l-bfgs", "fourier", "magnitude"])
def test_rivals_have_the_weight_and_the_steps_of_the_default(name: str, rivals: ModuleType) -> None:
    place = Place((3, 64, 64), 0.4, False, 8.0)
    own, default = rivals.RIVALS[name](place, None), rivals.wide(place)
    assert (own.weight, own.n_steps, own.patience) == (default.weight, default.n_steps, None)
    assert all(isinstance(prior, TotalVariation) for prior in own.priors)
    assert bool(own.priors) == (name in ("adam", "l-bfgs"))


def test_the_benchmark_runs(rivals: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("default", "magnitude"):  # without a trace in the tests that follow
        short = partial(_of_three_steps, RECIPES[name] if name in RECIPES else rivals.RIVALS[name])
        monkeypatch.setitem(RECIPES, name, short)
        monkeypatch.setitem(rivals.RIVALS, name, short)
    for name in rivals.RIVALS:
        monkeypatch.setitem(RECIPES, name, rivals.RIVALS[name])
    monkeypatch.setattr(rivals, "use_all_cores", lambda: None)
    settings = rivals.Settings(
        layers=("features.0",), recipes=("default", "magnitude"), images=2, pixels=32, batch=2, spread=2
    )
    found = json.loads(json.dumps(rivals.run(settings)))
    assert [row["recipe"] for row in found["rows"]] == ["default"] * 2 + ["magnitude"] * 2
    assert {row["steps"] for row in found["rows"]} == {3}
    header, rows = rivals.table(found)
    assert [row[1] for row in rows] == ["default", "magnitude"]
    assert {len(row) for row in rows} == {len(header)}


def test_the_page_says_what_was_measured(rivals: ModuleType) -> None:
    report, common = (importlib.import_module(name) for name in ("report", "common"))
    found = common.read_results("inversion_rivals")
    page = (BENCHMARKS.parent / "docs" / "inversion.md").read_text()
    assert report.fill(page, {"inversion_rivals": found}) == page
    settings = found["settings"]
    assert f"{settings['images']} photographs of {settings['pixels']} x {settings['pixels']} pixels" in page
    errors: dict[tuple[str, str], list[float]] = {}
    for row in sorted(found["rows"], key=lambda row: row["image"]):
        errors.setdefault((row["layer"], row["recipe"]), []).append(row["picture_error"])
    names = sorted({row["image"] for row in found["rows"]})
    for layer in settings["layers"]:
        own, wide = (np.array(errors[layer, recipe]) for recipe in ("default", "wide"))
        assert len(own) == len(wide) == settings["images"]
        new = np.array([name not in rivals.CHOSEN_ON for name in names])
        assert int(new.sum()) == 6
        for kept in (np.ones_like(new), new):  # also on the photographs on which nothing was chosen
            high = mean_interval((own - wide)[kept]).high
            assert high is not None
            assert high < 0  # "the default is closer than `wide` in all three layers"


def _of_three_steps(
    recipe: Callable[[Place, float | None], Recipe], place: Place, strength: float | None
) -> Recipe:
    whole = recipe(place, strength)
    return replace(whole, stages=(replace(whole.stages[0], steps=3),))


def test_the_table_pairs_differences_by_photograph(rivals: ModuleType) -> None:
    rows = []
    chosen_on = rivals.CHOSEN_ON[0]
    for image, default, other in ((chosen_on, 0.1, 0.12), ("b", 0.2, 0.21), ("c", 0.3, 0.33)):
        for recipe, error in (("default", default), ("wide", other)):
            row = {"layer": "x", "recipe": recipe, "image": image, "steps": 9, "same_label": True}
            rows.append(row | {"picture_error": error, "float_error": error, "rms_levels": 10.0})
    found = {"settings": {"layers": ["x"], "recipes": ["default", "wide"]}, "rows": rows}
    header, (default, wide) = rivals.table(found)
    assert default[header.index("more than default")] == ""
    differences = np.array([2.0, 1.0, 3.0])
    reach = 4.302653 * differences.std(ddof=1) / math.sqrt(3)
    cell = f"+2.0 [{2 - reach:+.1f}, {2 + reach:+.1f}]"
    assert wide[header.index("more than default")] == cell
    reach = 12.7062 * math.sqrt(2) / math.sqrt(2)  # of 1 and 3
    assert wide[header.index("on new photographs")] == f"+2.0 [{2 - reach:+.1f}, {2 + reach:+.1f}]"
    assert {len(default), len(wide)} == {len(header)}
