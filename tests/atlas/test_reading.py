"""Reading an atlas that anybody may have made or a disk has damaged: what is wrong is said, and nothing of it runs."""

from __future__ import annotations

import io
import json
import sqlite3
import zipfile
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import backlight
from backlight.atlas import Evidence, checks, keep_evidence, keep_origin, verify
from backlight.atlas.damage import reading
from backlight.atlas.hits import Hit
from backlight.atlas.schema import limit_steps, writing
from backlight.atlas.tiles import decode_picture, encode_patch, encode_projection, webp_size
from backlight.errors import AtlasError, BadInputError, DamagedAtlasError
from backlight.operators.ruleset import RuleSet
from backlight.text import visible
from cli.running import run
from fuzz.tiny import make_old_atlas, make_tiny_atlas
from fuzz.walking import content, without_type_checks

EVIDENCE = Evidence({"guided": 0.5}, "as good", False, "guided", 1)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Return a tiny atlas of its own."""
    make_tiny_atlas(tmp_path / "tiny.atlas")
    return tmp_path / "tiny.atlas"


def damage(path: Path, *statements: str) -> None:
    """Change rows as a disk would: past the checksums."""
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


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
    ("UPDATE evidence SET channel = 1 WHERE channel = 0", r"table evidence \(layer_id 1\)"),
    ("DELETE FROM evidence", r"table evidence \(layer_id 1\)"),
    ("UPDATE study SET layer_id = 2", r"table study \(layer_id 1\)"),
    ("DELETE FROM study", r"table study \(layer_id 1\)"),
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


def test_a_sound_atlas_is_sound_and_everything_in_it_is_counted(tiny: Path) -> None:
    found = verify(tiny)
    assert found.is_sound
    assert found.has_checksums
    with sqlite3.connect(tiny) as connection:
        (n_hits,) = connection.execute("SELECT count(*) FROM hit").fetchone()
    assert n_hits > 6
    assert found.counts == {
        "layers": 3, "images": 5, "pictures left out": 1, "filters": 1, "studies": 1, "layers with evidence": 1,
        "feature maps": 7, "hits": n_hits, "tiles": n_hits,
    }  # fmt: skip


def test_an_atlas_of_format_1_is_read_and_written_without_checksums(tiny: Path, tmp_path: Path) -> None:
    old = tmp_path / "old" / "tiny.atlas"
    old.parent.mkdir()
    make_old_atlas(old)
    assert content(old, drawn=False) == content(tiny, drawn=False)
    assert not verify(old).has_checksums
    keep_evidence(old, "1", EVIDENCE, {})
    assert backlight.open_atlas(old)["1"].evidence == EVIDENCE
    with sqlite3.connect(old) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)


def test_what_is_written_later_has_its_checksum_too(tiny: Path) -> None:
    opened = backlight.open_atlas(tiny)
    keep_evidence(tiny, "1", EVIDENCE, {0: EVIDENCE})
    keep_evidence(tiny, "3", EVIDENCE, {1: EVIDENCE})
    keep_origin(tiny, {"model": "torchvision:alexnet", "images": "photos", "weights": "DEFAULT"})
    for atlas in (opened, backlight.open_atlas(tiny)):  # one that was open meanwhile reads it as well
        assert atlas.origin["images"] == "photos"
        assert atlas["3"].evidence == EVIDENCE
        assert atlas["3"][0].evidence is None
        assert atlas["3"].study is None
    assert verify(tiny).is_sound


def test_a_step_that_fails_leaves_rows_and_checksums_as_they_were(tiny: Path) -> None:
    before = content(tiny, drawn=False)
    with pytest.raises(BadInputError, match="no layer 'none'"):
        keep_evidence(tiny, "none", EVIDENCE, {})
    with pytest.raises(RuntimeError, match="stopped"), writing(tiny) as connection:
        connection.execute("UPDATE image SET label = 'b'")
        raise RuntimeError("stopped")
    assert content(tiny, drawn=False) == before


def test_an_image_added_to_a_block_keeps_the_checksums_of_the_others(tiny: Path) -> None:
    with writing(tiny) as connection:
        connection.execute("UPDATE image SET label = 'new' WHERE image_id = 4")
    assert backlight.open_atlas(tiny).images[4].label == "new"
    assert verify(tiny).is_sound


HARM = [
    "CREATE TRIGGER t AFTER INSERT ON evidence BEGIN DELETE FROM hit; END",
    "CREATE VIEW v AS SELECT 1",
    "CREATE VIRTUAL TABLE v USING fts5(a)",
    "CREATE TABLE v (a)",
    "CREATE INDEX v ON hit (value)",
    "ALTER TABLE hit ADD COLUMN v AS (abs(value))",
    "DROP TABLE skipped",
]


@pytest.mark.parametrize("make", [make_tiny_atlas, make_old_atlas])
@pytest.mark.parametrize("statement", HARM)
def test_a_schema_with_anything_else_is_refused_by_readers_and_writers(
    tmp_path: Path, make, statement: str
) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "a.atlas"
    make(path)
    damage(path, statement)
    before = path.read_bytes()
    with pytest.raises(DamagedAtlasError, match="its tables are not those that Backlight makes"):
        backlight.open_atlas(path)
    with pytest.raises(DamagedAtlasError, match="its tables are not those that Backlight makes"):
        keep_evidence(path, "3", EVIDENCE, {})
    assert path.read_bytes() == before


def test_the_format_cannot_be_turned_back_to_one_without_checksums(tiny: Path) -> None:
    damage(tiny, "PRAGMA user_version = 1")
    with pytest.raises(DamagedAtlasError, match="its tables are not those"):
        backlight.open_atlas(tiny)


def test_a_query_without_end_is_stopped(tiny: Path) -> None:
    connection = sqlite3.connect(tiny)
    limit_steps(connection, 1000)
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT sum(i) FROM n"
    with pytest.raises(DamagedAtlasError, match="more rows than its file has room for"), reading(tiny, "n"):
        connection.execute(endless).fetchall()


def test_a_build_does_not_go_on_from_damaged_rows(tmp_path: Path, picture_folder: Path) -> None:
    from atlas.test_build import make_network

    path = tmp_path / "part.atlas"

    def stop(phase: str, *_: int) -> None:
        if phase == "project":
            raise KeyboardInterrupt

    asked = {"layers": ["relu2"], "top": 2, "batch_size": 32, "compile": "off"}
    with pytest.raises(KeyboardInterrupt):
        backlight.build(make_network(), picture_folder, path, **asked, progress=stop)
    damage(path, "UPDATE hit SET image_id = image_id + 1 WHERE channel = 5")
    with pytest.raises(DamagedAtlasError, match=r"table feature_map and hit \(layer_id 0, channel 5\)"):
        backlight.build(make_network(), picture_folder, path, **asked)


def test_an_atlas_opened_while_a_build_runs_shows_what_is_there_by_then(
    tmp_path: Path, picture_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from atlas.test_build import make_network

    monkeypatch.setattr(import_module("backlight.atlas.build"), "SCAN_STEP_IMAGES", 16)
    path, opened = tmp_path / "a.atlas", {}

    def look(phase: str, done: int, _: int) -> None:
        opened.setdefault(phase, backlight.open_atlas(path))
        counts.append([len(atlas.images) for atlas in opened.values()])
        assert all(len(list(atlas.images)) == len(atlas.images) for atlas in opened.values())

    counts: list[list[int]] = []
    asked = {"layers": ["relu1"], "top": 2, "batch_size": 16, "compile": "off", "maps": [0, 1]}
    with without_type_checks():
        whole = backlight.build(make_network(), picture_folder, path, **asked, progress=look)
    assert counts[:3] == [[16], [32], [32]]
    assert counts[-1] == [40, 40]
    for atlas in opened.values():
        assert atlas["relu1"][0] == whole["relu1"][0]
        assert atlas["relu1"][0].hits[0].patch == whole["relu1"][0].hits[0].patch


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"top": 100_001}, "top is at most 100000"),
        ({"rules": RuleSet("a\x1b[2J")}, "names of at most 1000 printable"),
    ],
)
def test_what_no_reader_would_read_is_not_begun(
    tmp_path: Path, picture_folder: Path, change: dict[str, object], message: str
) -> None:
    from atlas.test_build import make_network

    with pytest.raises(BadInputError, match=message):
        backlight.build(make_network(), picture_folder, tmp_path / "a.atlas", ["relu1"], **change)
    assert not (tmp_path / "a.atlas").exists()


def test_an_atlas_for_many_hits_of_few_images_has_figures_of_bounded_size(tiny: Path) -> None:
    with writing(tiny) as connection:
        (text,) = connection.execute("SELECT value FROM meta WHERE key = 'identity'").fetchone()
        changed = json.loads(text)
        changed["plan"]["top"] = 64
        connection.execute("UPDATE meta SET value = ? WHERE key = 'identity'", (json.dumps(changed),))
    size = backlight.open_atlas(tiny).figure("3").size
    with writing(tiny) as connection:
        changed["plan"]["top"] = 100_000
        connection.execute("UPDATE meta SET value = ? WHERE key = 'identity'", (json.dumps(changed),))
    assert backlight.open_atlas(tiny).figure("3").size == size


def test_receptive_fields_too_large_to_be_added_are_refused(tiny: Path) -> None:
    with writing(tiny) as connection:
        (text,) = connection.execute("SELECT description FROM layer WHERE name = '3'").fetchone()
        changed = json.loads(text)
        for axis in ("rows", "cols"):
            changed["receptive_field"][axis][::2] = 100_000, -50_000  # the whole image and far beyond
        connection.execute("UPDATE layer SET description = ? WHERE name = '3'", (json.dumps(changed),))
        connection.execute("UPDATE hit SET patch = x, projection = y FROM (SELECT patch AS x, projection AS y FROM hit "
                           "WHERE layer_id = 2) WHERE layer_id = 1 AND projection IS NOT NULL")  # fmt: skip
    with pytest.raises(BadInputError, match="too large to be added up"):
        backlight.open_atlas(tiny).superposed("3", full_field=True)


def first_hit(path: Path) -> Hit:
    return backlight.open_atlas(path)["1"][0].hits[0]


def put_tile(path: Path, **columns: object) -> None:
    """Put something else into the place of the first tile, with its checksum."""
    with writing(path) as connection:
        for column, value in columns.items():
            connection.execute(
                f"UPDATE hit SET {column} = ? WHERE layer_id = 0 AND channel = 0 AND rank = 0", (value,)
            )


def as_bytes(kind: str, size: tuple[int, int], **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 3 3\n" + b" " * 40, "a tile is a WebP picture"),
        (as_bytes("PNG", (3, 3)), "a tile is a WebP picture"),
        (as_bytes("WEBP", (3, 3), save_all=True, append_images=[Image.new("RGB", (3, 3), "red")]), "a WebP picture"),
        (as_bytes("WEBP", (4, 3)), r"of \d+ x \d+ pixels is expected, got 3 x 4"),
        (b"", "a tile is a WebP picture"),
        ("text", "patch must be bytes, got 'text'"),
    ],
)  # fmt: skip
def test_a_tile_of_another_kind_or_size_is_refused_before_it_is_decoded(
    tiny: Path, data: object, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_tile(tiny, patch=data)
    hit = first_hit(tiny)
    monkeypatch.setattr(Image, "open", None)
    with pytest.raises(DamagedAtlasError, match=message):
        _ = hit.patch


def test_tiles_are_opened_as_webp_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    opened = Image.open
    monkeypatch.setattr(Image, "open", lambda *a, **k: asked.append(k["formats"]) or opened(*a, **k))
    decode_picture(encode_patch(np.zeros((5, 7, 3), np.uint8)))
    assert asked == [["WEBP"]]


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (300, 2), (64, 513)])
def test_the_size_of_a_tile_is_read_from_its_header(size: tuple[int, int]) -> None:
    assert webp_size(encode_patch(np.zeros((*size, 3), np.uint8))) == size
    assert webp_size(encode_projection(np.ones((*size, 3), np.float32))[0]) == size


@pytest.mark.parametrize("scale", [float("inf"), 1e39, -1.0, "word", None])
def test_a_scale_that_is_no_size_is_refused(tiny: Path, scale: object) -> None:
    put_tile(tiny, scale=scale)
    with pytest.raises(DamagedAtlasError, match="scale must be a finite number from 0"):
        _ = first_hit(tiny).projection_values


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": []}, r"shape must be \(c, h, w\) or \(c,\)"),
        ({"shape": [1, 12, 12]}, "projected channels must be a whole number from 0 to 0, got 1"),
        ({"rectified": 1}, "rectified must be true or false, got 1"),
        ({"receptive_field": {"rows": [3, "1e1000000000", 0]}}, "must be a fraction, got '1e1000000000'"),
        ({"receptive_field": {"rows": [10**9, "1", 0]}}, "size of a receptive field must be a whole number"),
    ],
)
def test_a_description_that_no_build_writes_is_refused(change: dict[str, object], message: str) -> None:
    field = {"rows": [3, "1", -1], "cols": [3, "1/2", -1], "gates_ignored": False}
    sound = {"operator": "relu", "shape": [2, 12, 12], "rectified": True, "receptive_field": field}
    assert checks.description(json.dumps(sound), [0, 1]) == sound
    changed = sound | change
    if "receptive_field" in change:
        changed["receptive_field"] = field | change["receptive_field"]  # type: ignore[operator]
    with pytest.raises(ValueError, match=message):
        checks.description(json.dumps(changed), [0, 1])


def npy(array: np.ndarray, **options: bool) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def test_filters_come_back_in_either_order_and_never_larger_than_their_bytes() -> None:
    filters = np.arange(54, dtype=np.float32).reshape(2, 3, 3, 3)
    for array in (filters, np.asfortranarray(filters)):
        np.testing.assert_array_equal(checks.npy(npy(array)), filters)
    huge = npy(filters).replace(b"(2, 3, 3, 3)", b"(9999,9,3,3)")
    for data in (huge, npy(filters)[:-1], npy(filters.astype(np.float64)), npy(filters[0])):
        with pytest.raises(ValueError, match="filters must be float32"):
            checks.npy(data)
    with pytest.raises(ValueError, match="filters must be float32"):
        checks.npy(npy(np.array([{}], object), allow_pickle=True))


def test_a_result_that_unpacks_to_too_much_or_to_objects_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def packed(data: bytes) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("json.npy", data)
        return buffer.getvalue()

    sound = packed(npy(np.zeros(1000)))
    assert checks.npz(sound) == sound
    with pytest.raises(ValueError, match="larger than its data, or a pickle"):
        checks.npz(packed(npy(np.array([{}], object), allow_pickle=True)))
    monkeypatch.setattr(checks, "_LARGEST_RESULT_BYTES", 1000)
    with pytest.raises(ValueError, match="at most 1000 bytes unpacked"):
        checks.npz(sound)


def test_a_closed_atlas_says_so(tiny: Path) -> None:
    atlas = backlight.open_atlas(tiny)
    atlas.close()
    with pytest.raises(AtlasError, match="is closed; open it again with open_atlas"):
        _ = atlas.phase


def test_names_from_a_file_cannot_steer_a_terminal(tiny: Path) -> None:
    assert visible("a\x1b]0;x\x07\n\u202eb") == "a\\x1b]0;x\\x07\\n\\u202eb"
    with writing(tiny) as connection:
        connection.execute("UPDATE layer SET name = ? WHERE layer_id = 0", ("\x1b[2J",))
    with pytest.raises(DamagedAtlasError, match="layer name must be printable") as raised:
        backlight.open_atlas(tiny)
    assert str(raised.value).isprintable()


def test_check_counts_what_it_has_read(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", str(tiny)) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "3 layers 5 images 1 picture left out 1 filter" in printed
    assert printed.endswith("tiny.atlas: nothing is damaged")
    make_old_atlas(tiny)
    assert run("check", str(tiny)) == 0
    assert "has no checksums: a changed number or picture cannot be found" in " ".join(
        capsys.readouterr().out.split()
    )


@pytest.mark.parametrize("statement", ["UPDATE hit SET scale = 2", "UPDATE meta SET value = '{}'"])
def test_check_lists_the_first_damaged_rows_and_fails(
    tiny: Path, capsys: pytest.CaptureFixture[str], statement: str
) -> None:
    damage(tiny, statement)
    assert run("check", str(tiny)) == 1
    printed = capsys.readouterr().out
    assert "tiny.atlas: damaged in" in printed
    assert "the rows are not what was written" in printed
    assert len(printed.splitlines()) < 25


def test_check_refuses_what_is_no_atlas(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_text("a text that is long enough to be read as the header of a database" * 3)
    assert run("check", str(tmp_path / "a.txt")) == 2
    assert "is no atlas" in capsys.readouterr().err


def test_check_of_an_unfinished_build_counts_what_is_missing(tmp_path: Path, picture_folder: Path) -> None:
    from atlas.test_build import make_network

    path = tmp_path / "part.atlas"

    def stop(phase: str, done: int, _: int) -> None:
        if phase == "project" and done >= 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backlight.build(
            make_network(), picture_folder, path, ["relu1", "relu2"], top=4, batch_size=16, progress=stop
        )
    found = verify(path)
    assert found.is_sound
    assert found.unfinished == found.counts["hits"] - found.counts["tiles"] > 0
