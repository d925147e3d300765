"""Evidence: what a study has found out about a layer is kept in the atlas, and checked when it is read."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from atlas.files import EVIDENCE, damage
from backlight import open_atlas
from backlight.atlas import Evidence, Foretold, Stability, keep_evidence, verify
from backlight.atlas.evidence import packed, parse_evidence, parse_foretelling, parse_stability, unpacked
from backlight.atlas.schema import writing
from backlight.errors import DamagedAtlasError, UnknownLayerError
from fuzz.tiny import make_old_atlas

FOUND = Evidence({"deconvnet": 0.5, "random": None}, "better than all", True, "guided", 3)


def test_new_evidence_takes_the_place_of_all_that_the_layer_had(tiny: Path) -> None:
    before = open_atlas(tiny)["3"]
    assert (before.evidence.n, before[0].evidence.n) == (2, 2)
    assert before.studies
    keep_evidence(tiny, "3", FOUND, {1: EVIDENCE})
    layer, other = open_atlas(tiny)["3"], open_atlas(tiny)["1"]
    assert layer.evidence == FOUND
    assert (layer[0].evidence, layer[1].evidence) == (None, EVIDENCE)
    assert layer.studies == {}
    assert (other.evidence, other.studies) == (None, {})


def test_evidence_for_an_unknown_layer_is_refused(tiny: Path) -> None:
    with pytest.raises(UnknownLayerError, match=r"tiny\.atlas has no layer '2'; it has 1, 3, 5"):
        keep_evidence(tiny, "2", FOUND, {})


def test_an_atlas_of_format_1_gets_its_tables_with_the_first_study(tmp_path: Path) -> None:
    path = tmp_path / "old.atlas"
    make_old_atlas(path)
    damage(path, "DROP TABLE evidence", "DROP TABLE study")
    layer = open_atlas(path)["3"]
    assert (layer.evidence, layer[0].evidence, layer.studies) == (None, None, {})
    keep_evidence(path, "3", FOUND, {0: FOUND})
    assert open_atlas(path)["3"][0].evidence == FOUND
    assert verify(path).is_sound


def test_evidence_comes_back_from_its_json() -> None:
    assert parse_evidence(json.dumps(asdict(FOUND))) == FOUND


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"falls": {}}, "falls must name the rule set, got none"),
        ({"falls": [0.5]}, "falls must be a JSON object"),
        ({"falls": {"deconvnet": "half"}}, "fall must be a finite number, got 'half'"),
        ({"falls": {"a\x1b": 0.5}}, "rule set must be printable"),
        ({"verdict": 3}, "verdict must be a text"),
        ({"is_strong": 1}, "is_strong must be true or false, got 1"),
        ({"best_rules": "a\nb"}, "best_rules must be printable"),
        ({"n": -1}, "n must be a whole number from 0"),
    ],
)
def test_evidence_that_no_study_writes_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_evidence(json.dumps(asdict(FOUND) | change))


def test_evidence_that_lacks_something_is_refused() -> None:
    stored = asdict(FOUND)
    del stored["verdict"]
    with pytest.raises(KeyError, match="verdict"):
        parse_evidence(json.dumps(stored))


# --- beside the evidence of faithfulness --------------------------------------------------------------------

FORETOLD = Foretold({"guided": 0.5, "centre": None}, {"guided": 0.25, "centre": None}, (0.125, 0.5), 9)


def test_each_study_replaces_only_its_own_findings(tiny: Path) -> None:
    before = open_atlas(tiny)["3"]
    keep_evidence(tiny, "3", FORETOLD, {1: FORETOLD})
    layer = open_atlas(tiny)["3"]
    assert layer.evidence == before.evidence
    assert layer.foretelling == FORETOLD
    assert (layer[0].evidence, layer[0].foretelling) == (before[0].evidence, None)
    assert (layer[1].evidence, layer[1].foretelling) == (None, FORETOLD)
    assert layer.studies == before.studies
    keep_evidence(tiny, "3", FORETOLD, {0: FORETOLD})
    layer = open_atlas(tiny)["3"]
    assert (layer[0].foretelling, layer[1].foretelling) == (FORETOLD, None)
    assert verify(tiny).is_sound


def test_results_of_several_studies_are_packed_together() -> None:
    results = {"faithfulness": b"one", "foretelling": b"two"}
    assert unpacked(packed(results)) == results
    assert unpacked(packed({"foretelling": b"two", "faithfulness": b""})) == {"foretelling": b"two"}
    # that of faithfulness alone is as older atlases have it, and whatever else is in its place is taken for it
    assert packed({"faithfulness": b"one", "foretelling": b""}) == b"one"
    assert unpacked(b"damaged") == {"faithfulness": b"damaged"}
    assert unpacked(b"") == {}


def test_what_was_foretold_comes_back_from_its_json() -> None:
    assert parse_foretelling(json.loads(json.dumps(asdict(FORETOLD)))) == FORETOLD
    assert parse_foretelling(asdict(FORETOLD) | {"interval": None}).interval is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"partial": {}}, "partial must name the rule set, got none"),
        ({"correlations": {"guided": "much"}}, "correlations must be a finite number, got 'much'"),
        ({"interval": [0.1]}, "interval must be two numbers"),
        ({"interval": [0.1, "much"]}, "interval must be a finite number"),
        ({"n": -1}, "n must be a whole number from 0"),
    ],
)
def test_what_no_study_foretells_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_foretelling(json.loads(json.dumps(asdict(FORETOLD) | change)))


# --- stability, which the scan finds ------------------------------------------------------------------------


def test_stability_stays_when_studies_replace_their_findings(tiny: Path) -> None:
    before = [own.stability for own in open_atlas(tiny)["3"].values()]
    assert any(own is not None for own in before)
    for found in (FOUND, FORETOLD, FOUND):
        keep_evidence(tiny, "3", found, {1: found})
        assert [own.stability for own in open_atlas(tiny)["3"].values()] == before
    assert (open_atlas(tiny)["1"].evidence, open_atlas(tiny)["1"].foretelling) == (None, None)
    assert verify(tiny).is_sound


def test_stability_comes_back_from_its_json() -> None:
    assert parse_stability(asdict(Stability(7, 9))) == Stability(7, 9)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ([7, 9], "stability must be a JSON object"),
        ({"n": 7, "of": 10}, "ranks compared must be a whole number from 1 to 9, got 10"),
        ({"n": 0, "of": 0}, "ranks compared must be a whole number from 1"),
        ({"n": 7, "of": 6}, "stable ranks must be a whole number from 0 to 6, got 7"),
        ({"n": 1.5, "of": 6}, "stable ranks must be a whole number"),
    ],
)
def test_stability_that_no_scan_finds_is_refused(found: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_stability(found)


@pytest.mark.usefixtures("untyped")
@pytest.mark.parametrize("text", ["{}", '{"stability": 7}', '{"stability": {"of": 9}}', '{"stable": {}}'])
def test_a_row_of_something_else_is_damage(tiny: Path, text: str) -> None:
    with writing(tiny) as connection:
        connection.execute("UPDATE evidence SET found = ? WHERE layer_id = 0", (text,))
    with pytest.raises(DamagedAtlasError, match="evidence"):
        _ = open_atlas(tiny)["1"][0]
