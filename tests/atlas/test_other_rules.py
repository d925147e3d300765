"""Other rules: the hits of an atlas as another atlas, built with those rules, shows them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import backlight
from atlas.files import (
    EVIDENCE,
    GATES_DIFFERENTIATED,
    damage,
    gated_network,
    make_network,
    rows,
)
from atlas.grown import ASKED, assert_same_pictures, phases
from backlight import GRADIENT, GUIDED, build, extend, open_atlas
from backlight.atlas import keep_evidence, verify
from backlight.errors import BadInputError, DamagedAtlasError
from conftest import make_pictures


# Under `gates=vjp` a projection leaves the field that it has with gates held fixed.
@pytest.mark.parametrize("rules", [GUIDED, GRADIENT, GATES_DIFFERENTIATED], ids=lambda own: own.name)
def test_other_rules_show_what_an_atlas_built_with_them_shows(
    rules: backlight.RuleSet, tmp_path: Path
) -> None:
    net, pictures, path = gated_network(), make_pictures(tmp_path / "pictures", 6), tmp_path / "a.atlas"
    build(net, pictures, path, ["conv", "act"], **ASKED).close()
    before = rows(path)
    steps = phases(lambda **own: extend(net, pictures, path, rules=rules, **own))
    assert steps == {"project", "join"}
    grown = open_atlas(path)
    assert grown.rule_sets == ("deconvnet", rules.name)
    after = rows(path)
    ours = {"rule_set", "rule_layer", "rule_tile"}
    assert {table for table in before if before[table] != after[table]} == ours
    alone = build(net, pictures, tmp_path / "alone.atlas", ["conv", "act"], rules=rules, **ASKED)
    assert_same_pictures(grown.under(rules.name), alone)
    assert grown.under(rules.name)["act"].rules == rules
    assert grown.under("deconvnet")["act"].rules == backlight.DECONVNET


def test_rules_by_layer_are_kept_so(path: Path, tmp_path: Path, pictures: Path) -> None:
    by_layer = {"relu2": GUIDED}
    shown = extend(make_network(), pictures, path, rules=by_layer).under("deconvnet and guided")
    assert [layer.rules.name for layer in shown.layers] == ["deconvnet", "guided"]
    assert shown["relu2"].heading().is_chosen
    alone = build(
        make_network(),
        pictures,
        tmp_path / "alone.atlas",
        ["relu1", "relu2"],
        rules=by_layer,
        maps=3,
        **ASKED,
    )
    assert_same_pictures(shown, alone)


def test_maps_that_are_added_are_projected_by_all_rules(path: Path, tmp_path: Path, pictures: Path) -> None:
    net = make_network()
    extend(net, pictures, path, rules=GUIDED).close()
    extend(net, pictures, path, ["relu2", "fc"], GRADIENT, maps=5).close()
    grown = open_atlas(path)
    assert grown.rule_sets == ("deconvnet", "guided", "gradient")
    maps = {"relu1": 3, "relu2": 5, "fc": 5}
    for rules in (GUIDED, GRADIENT):
        alone = build(
            net, pictures, tmp_path / f"{rules.name}.atlas", list(maps), rules=rules, maps=maps, **ASKED
        )
        assert_same_pictures(grown.under(rules.name), alone)
    found = verify(path)
    assert found.is_sound
    assert found.counts["tiles by other rules"] == 2 * found.counts["tiles"]


def test_rules_that_are_there_are_not_projected_again(path: Path, pictures: Path) -> None:
    net = make_network()
    extend(net, pictures, path, rules=GUIDED).close()
    for rules in (GUIDED, backlight.DECONVNET):
        assert phases(lambda rules=rules, **own: extend(net, pictures, path, rules=rules, **own)) == set()


def test_rules_are_added_by_a_text_and_shown_by_the_rule_set(path: Path, pictures: Path) -> None:
    assert extend(make_network(), pictures, path, rules="guided").rule_sets == ("deconvnet", "guided")
    for rules in (GUIDED, "guided", replace(GUIDED, name="springenberg")):
        assert open_atlas(path).under(rules).rules.name == "guided"
        assert open_atlas(path, rules).rules.name == "guided"
    with pytest.raises(BadInputError, match="has no projections by gradient"):
        open_atlas(path).under(GRADIENT)


def test_two_rule_sets_of_one_name_are_refused(path: Path, pictures: Path) -> None:
    named_alike = backlight.RuleSet("deconvnet", average_pool="transpose")
    with pytest.raises(BadInputError, match="has other rules by the name 'deconvnet'; give these another"):
        extend(make_network(), pictures, path, rules=named_alike)


def test_rules_that_an_atlas_does_not_have_are_refused_with_the_way_to_add_them(path: Path) -> None:
    with pytest.raises(
        BadInputError, match="has no projections by guided; it has those by deconvnet"
    ) as raised:
        open_atlas(path).under("guided")
    assert "extend(net, images, path, rules=...)" in str(raised.value)
    assert "--rules guided" in raised.value.for_command_line


def test_under_other_rules_there_is_stability_and_no_evidence(path: Path, pictures: Path) -> None:
    keep_evidence(path, "relu2", EVIDENCE, {0: EVIDENCE})
    shown = extend(make_network(), pictures, path, rules=GUIDED).under("guided")["relu2"]
    assert shown.evidence is None
    assert shown.studies == {}
    channel = shown.channels[0]
    assert shown[channel].evidence is None
    assert shown[channel].stability is not None
    assert shown[channel].bands == ()


def test_a_damaged_tile_of_other_rules_is_named(path: Path, pictures: Path) -> None:
    extend(make_network(), pictures, path, rules=GUIDED).close()
    damage(path, "UPDATE rule_tile SET projection = x'00' WHERE rule_layer_id = 1 AND rank = 0")
    shown = open_atlas(path).under("guided")["relu2"]
    with pytest.raises(DamagedAtlasError, match=r"table rule_tile \(rule_layer_id 1, channel \d+, rank 0\)"):
        _ = shown[shown.channels[0]].hits[0].projection_values
    assert len(verify(path).damaged) == len([c for c in shown.channels if shown[c].hits]) > 1
