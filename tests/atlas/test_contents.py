"""Tiles and images that hits fetch: what is unfinished or damaged is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from atlas.files import damage, first_hit, make_network, put_tile
from backlight import build, open_atlas
from backlight.atlas.schema import writing
from backlight.errors import AtlasError, DamagedAtlasError
from backlight.storage import locked


def test_an_unfinished_atlas_can_be_read_and_says_what_is_missing(
    tmp_path: Path, picture_folder: Path
) -> None:
    path = tmp_path / "part.atlas"

    def stop(phase: str, done: int, _: int) -> None:
        if phase == "project" and done >= 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(make_network(), picture_folder, path, ["relu1", "relu2"], top=4, batch_size=16, progress=stop)
    part = open_atlas(path)
    assert part.phase == "project"
    assert part["relu2"][0].hits[0].projection_values.any()  # the deepest layer is projected first
    with pytest.raises(AtlasError, match="is not projected yet; call build again as before"):
        _ = part["relu1"][5].hits[0].projection_values
    with (
        locked(path),
        pytest.raises(
            AtlasError, match=r"not projected yet; a build of it is running \(process \d+\); wait for it"
        ),
    ):
        _ = part["relu1"][5].hits[0].projection_values


@pytest.mark.parametrize("scale", [float("inf"), 1e39, -1.0, "word", None])
def test_a_scale_that_is_no_size_is_refused(tiny: Path, scale: object) -> None:
    put_tile(tiny, scale=scale)
    with pytest.raises(DamagedAtlasError, match="scale must be a finite number from 0"):
        _ = first_hit(tiny).projection_values


def test_a_hit_of_an_image_that_the_atlas_does_not_list_is_damage(tiny: Path) -> None:
    (skipped,) = open_atlas(tiny).skipped
    with writing(tiny) as connection:
        connection.execute("UPDATE hit SET image_id = ? WHERE layer_id = 0", (skipped.id,))
    hit = first_hit(tiny)
    with pytest.raises(
        DamagedAtlasError, match=rf"hit \(layer_id 0, channel 0, rank 0\): there is no image {skipped.id}"
    ):
        _ = hit.image


def test_in_a_finished_atlas_a_missing_tile_is_damage(tiny: Path) -> None:
    where = "layer_id = 0 AND channel = 0 AND rank = 0"
    damage(
        tiny,
        f"UPDATE hit SET projection = NULL WHERE {where}",
        "DELETE FROM checksum WHERE kind = 'tile' AND key3 = 0",
    )
    with pytest.raises(DamagedAtlasError, match=r"channel 0, rank 0\): the projection is missing"):
        _ = first_hit(tiny).patch
    atlas = open_atlas(tiny)
    assert atlas["1"][0].hits[1].projection_values.any()
