"""Projections against a known truth: small networks set by hand, of the families that docs/ground-truth.md tables.

The rule sets are exact in some families and must fail in others. Both follow from how a network is built, so what is
asserted here holds for every seed.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch

from backlight import DECONVNET, GRADIENT, GUIDED, capture, project
from backlight.operators.ruleset import MASKED

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SEEDS = range(4)
FAMILIES = (
    "max pool",
    "average pool",
    "strided convolution",
    "skip",
    "concatenation",
    "distractors",
    "alternatives",
    "inhibition",
    "cancellation",
    "saturation",
)
RULES = {rules.name: rules for rules in (DECONVNET, MASKED, GUIDED, GRADIENT)}
EXACT = {
    ("max pool", *RULES),
    ("concatenation", *RULES),
    ("distractors", *RULES),
    ("average pool", "guided", "gradient"),
    ("strided convolution", "guided", "gradient"),
    ("skip", "guided", "gradient"),
    ("alternatives", "guided", "gradient"),
    ("inhibition", "gradient"),
    ("cancellation", "deconvnet", "masked", "guided"),
}
families = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(autouse=True)
def _importable(benchmarks):
    """Every test here imports benchmarks."""


@cache
def planted_of(family, seed):
    from planted import draw_plan, plant

    return plant(draw_plan(family, seed))


@cache
def picture_of(family, seed, rules):
    planted = planted_of(family, seed)
    net = _captured(family, seed)
    return project(net, planted.image[None], planted.unit, RULES[rules])[0]


@cache
def _captured(family, seed):
    planted = planted_of(family, seed)
    return capture(planted.model, tuple(planted.image.shape))


def measured(family, seed, rules):
    from ground_truth import measure

    return measure(picture_of(family, seed, rules), planted_of(family, seed))


def test_the_families_are_those_of_the_generator():
    import planted

    assert planted.FAMILIES == FAMILIES


@families
@pytest.mark.parametrize("seed", SEEDS)
def test_the_truth_is_what_covering_shows(family, seed):
    own = planted_of(family, seed)
    value = own.activation(own.image)
    assert value > 0.01
    assert own.fires() == own.expected
    assert own.activation(own.image * own.responsible) == pytest.approx(value, abs=1e-5)
    for piece in own.pieces:
        assert abs(own.activation(own.image * ~piece) - value) > 0.02
    ignored = own.distractors.any(0) | own.faint
    assert own.activation(own.image * ~ignored) == pytest.approx(value, abs=1e-5)
    loud = torch.where(own.possible, own.image, 9 * torch.randn_like(own.image))
    assert own.activation(loud) == value


@families
def test_there_are_impossible_pixels_and_patterns_that_are_ignored(family):
    networks = [planted_of(family, seed) for seed in SEEDS]
    assert not any((own.responsible & ~own.possible).any() for own in networks)
    assert all((~own.possible).sum() > own.possible.sum() for own in networks)
    assert sum(len(own.distractors) for own in networks) >= len(networks)
    assert not any((own.distractors & own.responsible).any() for own in networks)


@families
@pytest.mark.parametrize("rules", RULES)
def test_no_energy_lies_on_impossible_pixels(family, rules):
    assert [measured(family, seed, rules).impossible for seed in SEEDS] == [0.0] * len(SEEDS)


@pytest.mark.parametrize(("family", "rules"), sorted((own[0], rules) for own in EXACT for rules in own[1:]))
def test_where_a_rule_set_is_exact(family, rules):
    for seed in SEEDS:
        found = measured(family, seed, rules)
        assert (found.recall, found.precision) == (1.0, 1.0)
        assert found.energy == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("family", ["average pool", "strided convolution", "skip", "alternatives"])
def test_the_deconvnet_draws_what_a_silent_map_would_have_answered_to(family):
    for seed in SEEDS:
        assert measured(family, seed, "deconvnet").energy < 0.95


@pytest.mark.parametrize("family", ["average pool", "strided convolution", "skip", "alternatives"])
def test_masked_is_exact_where_its_masks_reach_and_not_a_level_higher(family):
    from ground_truth import masks_needed, measure
    from planted import draw_plan

    for seed in SEEDS:
        needed = masks_needed(draw_plan(family, seed))
        own, net = planted_of(family, seed), _captured(family, seed)
        enough, short = (
            project(net, own.image[None], own.unit, replace(MASKED, masked_levels=levels))[0]
            for levels in (needed, needed - 1)
        )
        torch.testing.assert_close(enough, picture_of(family, seed, "guided"))
        assert measure(short, own).energy < 0.95


def test_a_faint_pattern_is_drawn_by_the_deconvnet_through_the_switch_that_found_it():
    from planted import draw_plan

    seed = next(s for s in range(50) if draw_plan("alternatives", s).pool_first)
    faint = planted_of("alternatives", seed).faint
    assert faint.any()
    assert (picture_of("alternatives", seed, "deconvnet").abs().sum(0)[faint] > 0).all()
    for rules in ("masked", "guided", "gradient"):
        assert picture_of("alternatives", seed, rules)[:, faint].abs().max() == 0


@pytest.mark.parametrize("rules", ["deconvnet", "masked", "guided"])
def test_inhibition_is_drawn_by_the_gradient_only(rules):
    for seed in SEEDS:
        own, found = planted_of("inhibition", seed), measured("inhibition", seed, rules)
        raises, lowers = own.pieces
        assert found.recall == int(raises.sum()) / int(own.responsible.sum())
        assert picture_of("inhibition", seed, rules)[:, lowers].abs().max() == 0


def test_weights_that_cancel_hide_pixels_from_the_gradient_only():
    for seed in SEEDS:
        own, picture = planted_of("cancellation", seed), picture_of("cancellation", seed, "gradient")
        upper, lower = own.pieces
        assert picture[:, upper].abs().max() <= 1e-5 * picture[:, lower].abs().max()
        assert measured("cancellation", seed, "gradient").recall == int(lower.sum()) / int(
            own.responsible.sum()
        )


@pytest.mark.parametrize("rules", RULES)
def test_no_rule_set_draws_what_silenced_an_inhibitor(rules):
    for seed in SEEDS:
        own, picture = planted_of("saturation", seed), picture_of("saturation", seed, rules)
        assert picture[:, own.pieces[0]].abs().max() == 0
        found = measured("saturation", seed, rules)
        assert found.recall == int(own.pieces[1:].sum()) / int(own.responsible.sum())
        assert (found.precision is None) is (len(own.pieces) == 1)


def test_the_measures_of_pictures_made_by_hand():
    from ground_truth import measure, nearest

    own = planted_of("max pool", 0)
    k, picture = int(own.responsible.sum()), torch.zeros_like(own.image)
    assert measure(picture, own).recall == 0.0
    assert measure(picture, own).precision is None
    elsewhere = own.possible & ~own.responsible
    assert elsewhere.sum() > k
    assert measure(picture + elsewhere, own).recall == measure(picture + elsewhere, own).energy == 0.0
    both = measure(2.0 * own.responsible + picture + elsewhere, own)
    assert (both.recall, both.precision, both.impossible) == (1.0, 1.0, 0.0)
    assert both.energy == pytest.approx(4 * k / (4 * k + int(elsewhere.sum())))
    one = torch.zeros_like(own.responsible)
    one[tuple(own.responsible.nonzero()[0])] = True
    assert (measure(picture + one, own).recall, measure(picture + one, own).precision) == (1 / k, 1.0)
    assert measure(picture + ~own.possible, own).impossible == 3 * int((~own.possible).sum())
    on_ignored = picture + own.distractors.any(0)
    assert measure(on_ignored, own).ignored == 1.0
    assert nearest(own)[:, ~own.possible].abs().max() == 0


def test_a_network_is_the_same_whenever_it_is_planted():
    from planted import draw_plan, plant

    first, again, other = (plant(draw_plan("skip", seed)) for seed in (5, 5, 6))
    assert first.plan == again.plan != other.plan
    assert torch.equal(first.image, again.image)
    weights = zip(first.model.parameters(), again.model.parameters(), strict=True)
    assert all(torch.equal(*own) for own in weights)


def test_the_benchmark_runs_and_its_tables_have_a_row_for_each_family(monkeypatch):
    import ground_truth

    monkeypatch.setattr(ground_truth, "FAMILIES", ("inhibition", "skip", "saturation"))
    found = ground_truth.run(ground_truth.Settings(networks=1))
    header, rows = ground_truth.table(found, "recall")
    assert [row[:5] for row in rows[:1]] == [["inhibition", "1", "0.50", "0.50", "0.50"]]
    assert {len(row) for row in rows} == {len(header)}
    assert ground_truth.table(found, "energy")[1][0][2:] == ["1.00"] * 4
    (skip,) = ground_truth.reached(found)[1]
    assert (skip[0], skip[1:4:2]) in (("skip", ["1", "0"]), ("skip", ["0", "1"]))
    assert ground_truth.worst_impossible(found) == 0.0


def test_the_page_says_what_was_measured():
    import ground_truth
    import report
    from common import read_results

    found = read_results(ground_truth.PART)
    page = (BENCHMARKS.parent / "docs" / "ground-truth.md").read_text()
    assert report.fill(page, {ground_truth.PART: found}) == page
    assert len(found["rows"]) == len(FAMILIES) * found["settings"]["networks"] >= 200
    again = ground_truth.row_of(planted_of("skip", 1))
    kept = next(row for row in found["rows"] if (row["family"], row["seed"]) == ("skip", 1))
    assert [again[rules] for rules in RULES] == [pytest.approx(kept[rules], abs=1e-3) for rules in RULES]
    assert ground_truth.worst_impossible(found) == 0.0
