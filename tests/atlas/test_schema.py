"""The atlas file: its tables and nothing else, one writer, whole steps."""

from __future__ import annotations

import sqlite3
import threading
from functools import partial
from pathlib import Path

import pytest

import backlight
from atlas.files import EVIDENCE, damage, in_the_middle_of_a_commit, keys, make_earlier
from backlight.atlas import keep_evidence, verify
from backlight.atlas.damage import reading
from backlight.atlas.schema import connect_for_reading, connect_for_writing, limit_steps, writing
from backlight.errors import AtlasError, BadInputError, DamagedAtlasError, StorageError
from backlight.storage import locked
from fuzz.tiny import make_old_atlas, make_tiny_atlas
from fuzz.walking import content

pytestmark = pytest.mark.usefixtures("no_waiting")


def test_a_writer_takes_back_the_step_that_a_kill_left(begun: Path, tmp_path: Path) -> None:
    connection = connect_for_writing(in_the_middle_of_a_commit(begun, tmp_path / "killed"))
    assert keys(connection) == {"identity"}
    connection.close()


def refused_in_another_thread(path: Path) -> str:
    raised: list[str] = []

    def begin() -> None:
        try:
            connect_for_writing(path).close()
        except StorageError as error:
            raised.append(str(error))

    thread = threading.Thread(target=begin)
    thread.start()
    thread.join()
    return "".join(raised)


def test_a_second_writer_is_refused_until_the_first_has_closed(begun: Path) -> None:
    connection = connect_for_writing(begun)
    assert "is being written by process" in refused_in_another_thread(begun)
    connection.close()
    assert refused_in_another_thread(begun) == ""
    with locked(begun), writing(begun) as connection:  # a run's own steps
        connection.execute("INSERT INTO meta VALUES ('more', '1')")


@pytest.mark.parametrize(
    "name", [":memory:", "file:x.atlas", "x?mode=ro", "file::memory:?cache=shared", "a%41#b", " "]
)
@pytest.mark.parametrize("is_relative", [True, False])
def test_any_name_is_the_name_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, is_relative: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path(name) if is_relative else tmp_path / name
    with writing(path) as connection:
        connection.execute("INSERT INTO meta VALUES ('identity', '{}')")
    assert [own.name for own in tmp_path.iterdir()] == [name]
    connection = connect_for_reading(path)
    assert keys(connection) == {"identity"}
    connection.close()


def test_places_where_no_atlas_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="is a folder; give the name of the atlas to write"):
        connect_for_writing(tmp_path)
    with pytest.raises(BadInputError, match="no such folder"):
        connect_for_writing(tmp_path / "no" / "a.atlas")
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_step_lets_go_of_everything(begun: Path, tmp_path: Path) -> None:
    def fail() -> None:
        with writing(begun) as connection:
            connection.execute("INSERT INTO meta VALUES ('half', '1')")
            raise KeyError

    for attempt in (fail, lambda: connect_for_writing(tmp_path / "text")):
        (tmp_path / "text").write_text("no atlas")
        with pytest.raises((KeyError, AtlasError)):
            attempt()
    assert refused_in_another_thread(begun) == ""
    connection = connect_for_reading(begun)
    assert keys(connection) == {"identity"}
    connection.close()
    assert sorted(own.name for own in tmp_path.iterdir()) == ["a.atlas", "text"]


def test_a_step_that_fails_leaves_rows_and_checksums_as_they_were(tiny: Path) -> None:
    before = content(tiny, drawn=False)
    with pytest.raises(BadInputError, match="no layer 'none'"):
        keep_evidence(tiny, "none", EVIDENCE, {})
    with pytest.raises(RuntimeError, match="stopped"), writing(tiny) as connection:
        connection.execute("UPDATE image SET label = 'b'")
        raise RuntimeError("stopped")
    assert content(tiny, drawn=False) == before


def test_an_atlas_of_format_1_is_read_and_written_without_checksums(tiny: Path, tmp_path: Path) -> None:
    old = tmp_path / "old" / "tiny.atlas"
    old.parent.mkdir()
    make_old_atlas(old)
    assert content(old, drawn=False, parts=False) == content(tiny, drawn=False, parts=False)
    assert not verify(old).has_checksums
    keep_evidence(old, "1", EVIDENCE, {})
    assert backlight.open_atlas(old)["1"].evidence == EVIDENCE
    with sqlite3.connect(old) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)


HARM = [
    "CREATE TRIGGER t AFTER INSERT ON evidence BEGIN DELETE FROM hit; END",
    "CREATE VIEW v AS SELECT 1",
    "CREATE VIRTUAL TABLE v USING fts5(a)",
    "CREATE TABLE v (a)",
    "CREATE INDEX v ON hit (value)",
    "ALTER TABLE hit ADD COLUMN v AS (abs(value))",
    "DROP TABLE skipped",
]
VIEWS = [
    ("DROP VIEW hits",),
    ("DROP VIEW hits", "CREATE VIEW hits AS SELECT 1"),
    ("DROP VIEW hits", "CREATE TABLE hits (a)"),
    ("CREATE VIEW more AS SELECT * FROM hits",),
    ("CREATE TRIGGER t INSTEAD OF INSERT ON hits BEGIN DELETE FROM hit; END",),
    ("DROP INDEX hit_by_image",),
    ("DROP INDEX hit_by_image", "CREATE INDEX hit_by_image ON hit (abs(image_id))"),
    ("DROP TABLE band",),
]


@pytest.mark.parametrize("statements", VIEWS)
def test_no_other_view_is_accepted_than_that_of_hits(tiny: Path, statements: tuple[str, ...]) -> None:
    damage(tiny, *statements)
    for use in (lambda: backlight.open_atlas(tiny), lambda: keep_evidence(tiny, "3", EVIDENCE, {})):
        with pytest.raises(DamagedAtlasError, match="its tables are not those that Backlight makes"):
            use()


def test_the_view_of_hits_works_where_a_schema_is_not_trusted(tiny: Path) -> None:
    connection = connect_for_reading(tiny)
    (trusted,) = connection.execute("PRAGMA trusted_schema").fetchone()
    assert not trusted
    n_hits = connection.execute("SELECT count(*) FROM hit").fetchone()
    assert connection.execute("SELECT sum(1) FROM hits WHERE bottom > top").fetchone() == n_hits
    connection.close()


def test_an_index_finds_the_hits_of_an_image_without_reading_all(tiny: Path) -> None:
    connection = connect_for_reading(tiny)
    plan = connection.execute("EXPLAIN QUERY PLAN SELECT rank FROM hit WHERE image_id = 1").fetchall()
    assert "USING INDEX hit_by_image" in plan[0][-1]
    connection.close()


def make_atlas_of_format(version: int, path: Path) -> None:
    make_tiny_atlas(path)
    make_earlier(path, version)


@pytest.mark.parametrize(
    "make",
    [make_tiny_atlas, *(partial(make_atlas_of_format, version) for version in (4, 3, 2)), make_old_atlas],
)
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


@pytest.mark.parametrize("version", [1, 2, 3])
def test_the_format_cannot_be_turned_back_to_an_earlier_one(tiny: Path, version: int) -> None:
    damage(tiny, f"PRAGMA user_version = {version}")
    with pytest.raises(DamagedAtlasError, match="its tables are not those"):
        backlight.open_atlas(tiny)


def test_a_query_without_end_is_stopped(tiny: Path) -> None:
    connection = sqlite3.connect(tiny)
    limit_steps(connection, 1000)
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT sum(i) FROM n"
    with pytest.raises(DamagedAtlasError, match="more rows than its file has room for"), reading(tiny, "n"):
        connection.execute(endless).fetchall()


def test_another_format_is_refused_by_name(tiny: Path) -> None:
    damage(tiny, "PRAGMA user_version = 9")
    with pytest.raises(AtlasError, match="has atlas format 9, this Backlight reads 1 to 6"):
        backlight.open_atlas(tiny)


def test_another_database_is_no_atlas_and_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    damage(path, "CREATE TABLE note (text)")
    before = path.read_bytes()
    for connect in (connect_for_reading, connect_for_writing):
        with pytest.raises(AtlasError, match="exists and is not an atlas; it was not changed"):
            connect(path)
    assert path.read_bytes() == before
