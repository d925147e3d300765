"""Checksums: a row that is not what was written is found and named."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

import backlight
from atlas.files import EVIDENCE, damage
from backlight.atlas import keep_evidence, keep_origin, verify
from backlight.atlas.checksums import ChecksumError, place, read_group, written
from backlight.atlas.schema import writing
from backlight.errors import DamagedAtlasError
from fuzz.walking import content, without_type_checks

DAMAGES = [
    ("UPDATE meta SET value = '\"data\"' WHERE key = 'phase'", "table meta"),
    ("DELETE FROM meta WHERE key = 'origin'", "table meta"),
    ("UPDATE layer SET name = '4' WHERE layer_id = 1", "table layer"),
    ("DELETE FROM layer WHERE layer_id = 2", "table layer"),
    ("UPDATE feature_map SET mean = mean + 1e-9 WHERE layer_id = 1 AND channel = 2", "layer_id 1, channel 2"),
    ("UPDATE feature_map SET channel = 7 WHERE layer_id = 1 AND channel = 2", "layer_id 1, channel 2"),
    ("UPDATE hit SET image_id = 1 - image_id % 2 WHERE layer_id = 1", "layer_id 1, channel 0"),
    ("DELETE FROM hit WHERE layer_id = 1 AND channel = 1 AND rank = 1", "layer_id 1, channel 1"),
    ("UPDATE hit SET scale = scale * 1.5 WHERE layer_id = 0 AND rank = 1", "layer_id 0, channel 0, rank 1"),
    ("UPDATE hit SET patch = projection WHERE layer_id = 0 AND rank = 0", "layer_id 0, channel 0, rank 0"),
    ("UPDATE hit SET projection = NULL WHERE layer_id = 0 AND rank = 0", "layer_id 0, channel 0, rank 0"),
    ("UPDATE image SET label = 'b' WHERE image_id = 0", r"table image \(image_id 0 to 63\)"),
    ("UPDATE image SET image_id = 70 WHERE image_id = 0", r"table image \(image_id 0 to 63\)"),
    ("DELETE FROM image WHERE image_id = 0", "6 images were scanned, but 5 are listed"),
    ("UPDATE skipped SET reason = ''", r"table skipped \(image_id 0 to 63\)"),
    ("DELETE FROM skipped", "6 images were scanned, but 5 are listed"),
    ("UPDATE filters SET layer_id = 1", "table filters"),
    ("DELETE FROM filters", "table filters"),
    ("UPDATE map_filters SET n_groups = 2", r"table map_filters \(layer_id 0\)"),
    (
        "UPDATE map_filters SET weights = substr(weights, 1, 200) WHERE layer_id = 2",
        r"table map_filters \(layer_id 2\)",
    ),
    ("DELETE FROM map_filters WHERE layer_id = 1", r"table map_filters \(layer_id 1\)"),
    ("UPDATE evidence SET channel = 3 WHERE layer_id = 1 AND channel = 0", r"table evidence \(layer_id 1\)"),
    ("DELETE FROM evidence WHERE layer_id = 1", r"table evidence \(layer_id 1\)"),
    ("UPDATE study SET layer_id = 2", r"table study \(layer_id 1\)"),
    ("DELETE FROM study", r"table study \(layer_id 1\)"),
    ("UPDATE band SET value = value * 1.01 WHERE layer_id = 1", r"table band \(layer_id 1, channel 0\)"),
    ("DELETE FROM band WHERE layer_id = 0 AND channel = 1", r"table band \(layer_id 0, channel 1\)"),
    (
        "UPDATE band SET scale = scale * 1.5 WHERE layer_id = 0",
        r"table band \(layer_id 0, channel 0, bin \d+\)",
    ),
    (
        "UPDATE picture SET picture = (SELECT max(picture) FROM picture) WHERE image_id < 5",
        r"table picture \(image_id",
    ),
    ("DELETE FROM picture WHERE image_id = 2", r"table picture \(image_id 2\)"),
    (
        "UPDATE activation SET codes = x'00' WHERE layer_id = 1",
        r"table activation \(layer_id 1, channel 0, rank 0\)",
    ),
    ("DELETE FROM activation WHERE rank = 1", r"table activation \(layer_id 0, channel 0, rank 1\)"),
    ("DELETE FROM checksum WHERE kind = 'tile'", "layer_id 0, channel 0, rank 0"),
    ("DELETE FROM checksum WHERE kind = 'image'", r"table image \(image_id 0 to 63\)"),
]


@pytest.mark.parametrize(("statement", "place"), DAMAGES)
def test_rows_that_are_not_what_was_written_are_named(tiny: Path, statement: str, place: str) -> None:
    damage(tiny, statement)
    with without_type_checks(), pytest.raises(DamagedAtlasError, match=place) as raised:
        content(tiny, drawn=False)
    (line,) = str(raised.value).splitlines()
    assert line.startswith(f"'{tiny}' is damaged (table")
    assert line.endswith(f"`backlight check {tiny}` lists all damage")
    with without_type_checks():
        found = verify(tiny)
    assert raised.value.finding in found.damaged


def test_what_is_written_later_has_its_checksum_too(tiny: Path) -> None:
    opened = backlight.open_atlas(tiny)
    keep_evidence(tiny, "1", EVIDENCE, {0: EVIDENCE})
    keep_evidence(tiny, "3", EVIDENCE, {1: EVIDENCE})
    keep_origin(tiny, {"model": "torchvision:alexnet", "images": "photos", "weights": "DEFAULT"})
    for atlas in (opened, backlight.open_atlas(tiny)):  # one that was open meanwhile reads it as well
        assert atlas.origin["images"] == "photos"
        assert atlas["3"].evidence == EVIDENCE
        assert atlas["3"][0].evidence is None
        assert atlas["3"].studies == {}
    assert verify(tiny).is_sound


def test_an_image_added_to_a_block_keeps_the_checksums_of_the_others(tiny: Path) -> None:
    with writing(tiny) as connection:
        connection.execute("UPDATE image SET label = 'new' WHERE image_id = 4")
    assert backlight.open_atlas(tiny).images[4].label == "new"
    assert verify(tiny).is_sound


@pytest.fixture
def opened(tiny: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(tiny)
    yield connection
    connection.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE image SET label = CAST(label AS BLOB) WHERE image_id = 0",
        "UPDATE image SET path = path || label, label = '' WHERE image_id = 0",
        "UPDATE image SET height = width, width = height + 1 WHERE image_id = 0",
        "DELETE FROM checksum WHERE kind = 'image'",
    ],
)
def test_rows_are_compared_with_their_checksum_where_that_is_asked_for(
    opened: sqlite3.Connection, statement: str
) -> None:
    sound = read_group(opened, "image", (0,), check=True)
    assert len(sound[0]) == 5
    opened.execute(statement)
    with pytest.raises(ChecksumError, match="the rows are not what was written"):
        read_group(opened, "image", (0,), check=True)
    assert len(read_group(opened, "image", (0,), check=False)[0]) == 5


def test_rows_of_a_group_without_rows_need_no_checksum(opened: sqlite3.Connection) -> None:
    assert read_group(opened, "image", (7,), check=True) == [[]]


def test_the_groups_of_an_atlas_are_listed_but_for_the_large_ones(opened: sqlite3.Connection) -> None:
    maps = [("map", (layer, channel)) for layer, n_maps in enumerate((2, 3, 2)) for channel in range(n_maps)]
    others = [
        ("meta", ()),
        ("layer", ()),
        ("image", (0,)),
        ("skipped", (0,)),
        ("filters", ()),
        *[(kind, (layer,)) for kind in ("certainty", "evidence") for layer in range(3)],
        ("field", ()),
        ("scan", ()),
        ("rules", ()),
        *[("band", (layer, channel)) for layer in range(3) for channel in range(2)],
    ]
    assert sorted(written(opened)) == sorted(maps + others)


def test_rows_that_a_step_removes_take_their_checksum_with_them(tiny: Path) -> None:
    with writing(tiny) as connection:
        connection.execute("DELETE FROM study")
    with sqlite3.connect(tiny) as connection:
        assert connection.execute("SELECT count(*) FROM checksum WHERE kind = 'study'").fetchone() == (0,)
    assert verify(tiny).is_sound


def test_a_place_is_said_in_words() -> None:
    assert place("meta") == "table meta"
    assert place("image", (2,)) == "table image (image_id 128 to 191)"
    assert place("map", (0, 17)) == "table feature_map and hit (layer_id 0, channel 17)"
