"""The open file of an atlas."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import backlight
from atlas.files import damage
from backlight.atlas.file import AtlasFile
from backlight.atlas.schema import writing
from backlight.errors import AtlasError, DamagedAtlasError


def test_readers_cannot_write(atlas: backlight.Atlas) -> None:
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        atlas.file.connection.execute("DELETE FROM hit")


def test_a_closed_atlas_says_so(tiny: Path) -> None:
    atlas = backlight.open_atlas(tiny)
    atlas.close()
    with pytest.raises(AtlasError, match="is closed; open it again with open_atlas"):
        _ = atlas.phase


def test_a_value_that_is_not_there_yet_is_said_with_what_to_do(begun: Path) -> None:
    file = AtlasFile(begun)
    assert file.meta("identity") == "{}"
    with pytest.raises(
        AtlasError, match=r"a\.atlas' holds nothing yet; call build again as before"
    ) as raised:
        file.meta("batch_size")
    assert raised.value.for_command_line.endswith("; rerun the original `backlight build` to resume it")
    file.close()


def test_a_phase_that_no_build_has_is_damage(begun: Path) -> None:
    with writing(begun) as connection:
        connection.execute("INSERT INTO meta VALUES ('phase', '\"data\"')")
    file = AtlasFile(begun)
    with pytest.raises(
        DamagedAtlasError,
        match=r"table meta \(phase\): phase must be one of scan, certify, project, band, light, done, got",
    ):
        _ = file.phase
    file.close()


def test_a_sound_file_has_nothing_wrong_with_its_pages_and_a_broken_one_has(tiny: Path) -> None:
    file = AtlasFile(tiny)
    assert file.integrity() == []
    assert file.has_checksums
    assert file.has_studies
    damage(tiny, "UPDATE image SET label = 'b'")  # a step: SQLite then reads all pages again
    data = bytearray(tiny.read_bytes())
    unused = int.from_bytes(data[36:40], "big")  # the header's number of unused pages
    data[36:40] = (unused + 5).to_bytes(4, "big")
    tiny.write_bytes(data)
    (line,) = file.integrity()
    assert f"size is {unused} but should be {unused + 5}" in line
    file.close()


def test_several_threads_may_read_at_once(tiny: Path) -> None:
    file = AtlasFile(tiny)
    wanted = [file.group("map", 1, channel) for channel in range(3)] * 20
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda channel: file.group("map", 1, channel), [0, 1, 2] * 20))
    assert found == wanted
    file.close()


def test_the_error_of_a_query_says_what_was_read(tiny: Path) -> None:
    file = AtlasFile(tiny)
    assert file.rows("table layer", "SELECT name FROM layer ORDER BY 1") == [("1",), ("3",), ("5",)]
    with pytest.raises(DamagedAtlasError, match=r"damaged \(table layer: no such column: absent"):
        file.rows("table layer", "SELECT absent FROM layer")
    file.close()
