"""`backlight compare`: its tables, what it writes, and bad input in one clear line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from atlas.files import make_earlier
from backlight.atlas import Evidence, compare, keep_evidence, open_atlas
from backlight.atlas.schema import writing
from cli.running import check_refused, run
from fuzz.tiny import make_tiny_atlas


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go to a folder with the atlases of two networks, a and b."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    make_tiny_atlas(Path("a.atlas"))
    make_tiny_atlas(Path("b.atlas"), 1)


def printed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.usefixtures("two")
def test_layers_come_first_and_then_the_most_changed_maps(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("compare", "a.atlas", "b.atlas") == 0
    found = compare(open_atlas("a.atlas"), open_atlas("b.atlas"))
    rows = printed(capsys)
    assert rows[:2] == ["A a.atlas", "B b.atlas"]
    at = rows.index("layer maps changed filters died revived")
    for row, own in zip(rows[at + 1 : at + 4], found.layers, strict=True):
        distance = "–" if own.filters is None else f"{own.filters:.2f}"
        assert row == f"{own.name} 2 {own.changed:.0%} {distance} 0 0"
    assert rows[at + 4] == "By chance a map would change by 60%."
    at = rows.index("layer map changed same filters strength")
    for row, own in zip(rows[at + 1 :], found.maps, strict=True):
        distance = "–" if own.filters is None else f"{own.filters:.2f}"
        numbers = f"{own.changed:.0%} {own.n_shared} of {own.n_hits} {distance} x {own.strength:.2f}"
        assert row == f"{own.layer} {own.channel} {numbers}"


@pytest.mark.usefixtures("two")
def test_fewer_maps_and_layers_are_listed_where_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("compare", "a.atlas", "b.atlas", "--layers", "5,3", "--maps", "1") == 0
    rows = printed(capsys)
    at = rows.index("layer maps changed filters died revived")
    assert [row[0] for row in rows[at + 1 : at + 3]] == ["5", "3"]
    assert len(rows[rows.index("layer map changed same filters strength") :]) == 2
    assert run("compare", "a.atlas", "b.atlas", "--maps", "0") == 0
    assert printed(capsys)[-1] == "By chance a map would change by 60%."


@pytest.mark.usefixtures("two")
def test_filters_that_an_earlier_version_did_not_keep_have_no_column(
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_earlier(Path("b.atlas"), 3)
    assert run("compare", "a.atlas", "b.atlas", "--layers", "5,3") == 0
    rows = printed(capsys)
    assert "layer maps changed died revived" in rows
    assert "layer map changed same strength" in rows


@pytest.mark.usefixtures("two")
def test_dead_maps_evidence_and_what_is_left_out_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    with writing(Path("b.atlas")) as connection:
        connection.execute("DELETE FROM hit WHERE layer_id = 1 AND channel = 1")
        connection.execute("UPDATE feature_map SET max = 0, n_active = 0 WHERE layer_id = 1 AND channel = 1")
    for name, own in (("a.atlas", 0.5), ("b.atlas", 0.75)):
        found = Evidence({"deconvnet": own, "turned": 0.25}, "as good", False, "deconvnet", 2)
        keep_evidence(Path(name), "1", found, {0: found})
    atlases = open_atlas("a.atlas"), open_atlas("b.atlas")
    assert run("compare", "a.atlas", "b.atlas") == 0
    rows = printed(capsys)
    (distance,) = (own.filters for own in compare(*atlases).maps if (own.layer, own.channel) == ("3", 1))
    mean = compare(*atlases, "3").layers[0].filters
    assert f"3 1 100% – {distance:.2f} died –" in rows
    assert [row.split()[-1] for row in rows if row.startswith("1 0 ")] == ["+25%"]
    assert f"3 2 75% {mean:.2f} 1 0" in rows
    assert run("compare", "b.atlas", "a.atlas") == 0
    assert f"3 1 100% – {distance:.2f} revived –" in printed(capsys)
    assert run("compare", "b.atlas", "b.atlas", "--layers", "3") == 0
    output = capsys.readouterr()
    assert "dead in both" in output.out
    assert output.err == "note: the two are of the same network, images and rules\n"


@pytest.mark.usefixtures("built")
def test_layers_and_maps_in_only_one_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    from cli.running import BUILD

    words = [{"a.atlas": "b.atlas"}.get(word, word) for word in BUILD]
    assert run(*words, "--maps", "all", "--layers", "relu1") == 0
    capsys.readouterr()
    assert run("compare", "a.atlas", "b.atlas") == 0
    rows = printed(capsys)
    assert "Not compared: relu2 (only in a.atlas)" in rows
    header = "layer maps in one only changed filters died revived"
    assert rows[rows.index(header) + 1].startswith("relu1 2 6 ")


@pytest.mark.usefixtures("two")
def test_all_maps_are_written_as_csv_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    found = compare(open_atlas("a.atlas"), open_atlas("b.atlas"))
    assert run("compare", "a.atlas", "b.atlas", "--save", "c.csv", "--maps", "1") == 0
    assert capsys.readouterr().out.endswith("\nc.csv\n")
    with Path("c.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["layer"], int(row["channel"]), float(row["changed"])) for row in rows] == [
        (own.layer, own.channel, own.changed) for own in found.maps
    ]
    assert [row["filters"] for row in rows] == [
        "" if own.filters is None else str(own.filters) for own in found.maps
    ]
    assert run("compare", "a.atlas", "b.atlas", "--save", "c.json") == 0
    kept = json.loads(Path("c.json").read_text())
    assert (kept["a"], kept["b"], kept["left_out"]) == ("a.atlas", "b.atlas", {})
    for row, own in zip(kept["maps"], found.maps, strict=True):
        assert row == {
            "layer": own.layer,
            "channel": own.channel,
            "changed": own.changed,
            "n_shared": own.n_shared,
            "n_hits": own.n_hits,
            "filters": own.filters,
            "strength": own.strength,
            "evidence": None,
            "dead_a": False,
            "dead_b": False,
        }


@pytest.mark.usefixtures("two")
def test_no_name_of_a_layer_is_a_formula_of_a_spreadsheet() -> None:
    for name in ("a.atlas", "b.atlas"):
        with writing(Path(name)) as connection:
            connection.execute("UPDATE layer SET name = '=1+1' WHERE layer_id = 0")
            connection.execute("""UPDATE layer SET description = replace(description, '["1"]', '["=1+1"]')""")
            connection.execute(
                """UPDATE meta SET value = replace(value, '"1": [', '"=1+1": [') WHERE key = 'identity'"""
            )
    assert run("compare", "a.atlas", "b.atlas", "--save", "c.csv", "--layers", "=1+1") == 0
    with Path("c.csv").open(newline="") as file:
        assert {row["layer"] for row in csv.DictReader(file)} == {"'=1+1"}


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("gone.atlas", "t.atlas"), "no atlas at 'gone.atlas'"),
        (("t.atlas", "t.atlas", "--save", "c.txt"), "a comparison is written as .csv or .json, got 'c.txt'"),
        (("t.atlas", "t.atlas", "--save", "no/c.csv"), "no such folder: 'no'; make it first"),
        (("t.atlas", "t.atlas", "--layers", "conv"), "t.atlas has no layer 'conv'; it has 1, 3, 5"),
        (("t.atlas", "other.atlas"), "'t.atlas' and 'other.atlas' are of different images"),
    ],
)
def test_bad_input_is_one_clear_line(
    workplace: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], text: str
) -> None:
    make_tiny_atlas(Path("t.atlas"))
    make_tiny_atlas(Path("other.atlas"))
    with writing(Path("other.atlas")) as connection:
        connection.execute(
            "UPDATE meta SET value = json_set(value, '$.images.fingerprint', 'other') WHERE key = 'identity'"
        )
    check_refused(capsys, ("compare", *words), text)
