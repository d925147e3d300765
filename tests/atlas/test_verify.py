"""Verifying an atlas, as `backlight check` does: all is read and counted, and all damage listed."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

import backlight
from atlas.files import damage, make_network
from backlight.atlas import verify
from backlight.atlas.schema import writing
from backlight.errors import AtlasError
from cli.running import run
from fuzz.tiny import make_old_atlas
from fuzz.walking import without_type_checks


def test_a_sound_atlas_is_sound_and_everything_in_it_is_counted(tiny: Path) -> None:
    found = verify(tiny)
    assert found.is_sound
    assert found.has_checksums
    with sqlite3.connect(tiny) as connection:
        (n_hits,) = connection.execute("SELECT count(*) FROM hit").fetchone()
        (n_maps,) = connection.execute("SELECT count(*) FROM hit WHERE row IS NOT NULL").fetchone()
        (n_bands,) = connection.execute("SELECT count(*) FROM band").fetchone()
    assert n_hits > n_maps > 6
    assert n_bands > n_hits
    assert found.counts == {
        "layers": 3, "images": 5, "pictures left out": 1, "filters": 3, "studies": 1, "layers with evidence": 1,
        "feature maps": 7, "hits": n_hits, "tiles": n_hits, "whole pictures": 5, "activation maps": n_maps,
        "examples of bands": n_bands, "tiles of examples": n_bands,
        "tiles by other rules": n_hits,
    }  # fmt: skip


def test_check_counts_what_it_has_read(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", str(tiny)) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "3 layers 5 images 1 picture left out 5 whole pictures 3 filters" in printed
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
    assert len(printed.splitlines()) < 27


def test_check_refuses_what_is_no_atlas(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_text("a text that is long enough to be read as the header of a database" * 3)
    assert run("check", str(tmp_path / "a.txt")) == 2
    assert "is not an atlas" in capsys.readouterr().err


def test_check_of_an_unfinished_build_counts_what_is_missing(tmp_path: Path, picture_folder: Path) -> None:
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


def test_progress_is_told_for_every_map(tiny: Path) -> None:
    steps: list[tuple[str, int, int]] = []
    verify(tiny, lambda *step: steps.append(step))
    assert steps == [("check", n, 7) for n in range(1, 8)]


def test_all_damage_is_listed_in_reading_order_and_what_is_intact_is_counted(tiny: Path) -> None:
    sound = verify(tiny)
    damage(
        tiny,
        "UPDATE feature_map SET mean = 9 WHERE layer_id = 1 AND channel = 2",
        "UPDATE hit SET scale = 2 WHERE layer_id = 0 AND channel = 1 AND rank = 0",
        "UPDATE skipped SET reason = ''",
    )
    with without_type_checks():
        found = verify(tiny)
    assert [line.partition(": ")[0] for line in found.damaged] == [
        "table skipped (image_id 0 to 63)",
        "table hit (layer_id 0, channel 1, rank 0)",
        "table feature_map and hit (layer_id 1, channel 2)",
    ]
    lost = {"pictures left out": 1, "feature maps": 1, "tiles": 1}
    assert found.counts == {
        key: n - lost.get(key, 0) for key, n in sound.counts.items() if key != "pictures left out"
    }
    assert not found.is_sound


def test_a_thousand_findings_are_enough(tiny: Path) -> None:
    with writing(tiny) as connection:  # most maps of the first layer are then missing
        connection.execute(
            "UPDATE layer SET description = json_set(description, '$.shape[0]', 1100) WHERE layer_id = 0"
        )
    assert len(verify(tiny).damaged) == 1000


def test_what_is_no_atlas_cannot_be_verified(tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match=r"no atlas at '.*none\.atlas'"):
        verify(tmp_path / "none.atlas")


def test_damage_of_bands_and_whole_pictures_is_listed_once_each(tiny: Path) -> None:
    sound = verify(tiny)
    damage(
        tiny,
        "DELETE FROM picture WHERE image_id = 2",
        "DELETE FROM picture WHERE image_id = 4",
        "DELETE FROM checksum WHERE kind = 'picture' AND key1 = 4",
        "UPDATE activation SET codes = x'00' WHERE layer_id = 0 AND channel = 1 AND rank = 0",
        "UPDATE band SET value = value * 1.001 WHERE layer_id = 1 AND channel = 0",
        "UPDATE field SET first_row = 7 WHERE layer_id = 1",
    )
    with without_type_checks():
        found = verify(tiny)
    assert [line.partition(": ")[0] for line in found.damaged] == [
        "table field",
        "table picture (image_id 2)",
        "table picture (image_id 4)",
        "table activation (layer_id 0, channel 1, rank 0)",
        "table band (layer_id 1, channel 0)",
    ]
    lost = {key: n - found.counts[key] for key, n in sound.counts.items() if n != found.counts[key]}
    n_lost = lost.pop("examples of bands")
    assert lost == {"whole pictures": 2, "activation maps": 1, "tiles of examples": n_lost}


def test_fields_that_are_not_those_of_the_layers_are_damage(tiny: Path) -> None:
    with writing(tiny) as connection:
        connection.execute("UPDATE field SET first_row = 7 WHERE layer_id = 1")
    assert verify(tiny).damaged == ("table field: the fields are not those of the layers",)
