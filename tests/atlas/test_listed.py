"""The images that an atlas lists."""

from __future__ import annotations

from contextlib import closing
from importlib import import_module
from pathlib import Path

import pytest

import backlight
from atlas.files import make_network
from backlight.atlas import listed
from backlight.atlas.checksums import RowGroup
from backlight.atlas.file import AtlasFile
from backlight.atlas.listed import AtlasImages
from backlight.atlas.schema import writing
from backlight.errors import DamagedAtlasError
from fuzz.walking import without_type_checks


def test_an_atlas_opened_while_a_build_runs_shows_what_is_there_by_then(
    tmp_path: Path, picture_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("backlight.engines.plan"), "SCAN_STEP_IMAGES", 16)
    path, opened = tmp_path / "a.atlas", {}

    def look(phase: str, done: int, _: int) -> None:
        opened.setdefault(phase, backlight.open_atlas(path))
        counts.append([len(atlas.images) for atlas in opened.values()])
        assert all(len(list(atlas.images)) == len(atlas.images) for atlas in opened.values())

    counts: list[list[int]] = []
    asked = {"layers": ["relu1"], "top": 2, "batch_size": 16, "compile": "off", "maps": [0, 1]}
    with without_type_checks():
        whole = backlight.build(make_network(), picture_folder, path, **asked, progress=look)
    assert counts[:3] == [[16], [32], [40]]
    assert counts[-1] == [40, 40, 40, 40]  # opened in the phases scan, certify, project and light
    for atlas in opened.values():
        assert atlas["relu1"][0] == whole["relu1"][0]
        assert atlas["relu1"][0].hits[0].patch == whole["relu1"][0].hits[0].patch


def test_images_are_found_by_id_in_every_block(tiny: Path) -> None:
    with writing(tiny) as connection:
        connection.executemany(
            "INSERT INTO image VALUES (?, ?, NULL, 3, 4)", [(i, f"{i}.png") for i in range(6, 200)]
        )
    file = AtlasFile(tiny)
    images = AtlasImages(file, 200, (12, 12))
    (skipped,) = images.skipped
    assert images.n_listed == (199, 1)
    assert list(images) == sorted({*range(200)} - {skipped.id})
    assert list(images.block(1)) == list(range(64, 128))
    assert (images[190].path, images[64].path, images[127].size) == ("190.png", "64.png", (3, 4))
    assert images[0].label == "a"
    file.close()


def groups_read(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """Return a list that grows by each group that is read from now on."""
    read = list[tuple[object, ...]]()
    real = AtlasFile.group

    def group(self: AtlasFile, kind: str, *keys: int) -> RowGroup:
        read.append((kind, *keys))
        return real(self, kind, *keys)

    monkeypatch.setattr(AtlasFile, "group", group)
    return read


def test_what_is_asked_for_again_is_read_once_up_to_a_limit(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with writing(tiny) as connection:
        connection.executemany(
            "INSERT INTO image VALUES (?, ?, NULL, 3, 4)", [(i, f"{i}.png") for i in range(6, 200)]
        )
    monkeypatch.setattr(listed, "BLOCKS_KEPT", 2)
    monkeypatch.setattr(listed, "KEPT_BYTES", 2 * 3 * 12 * 12)
    with closing(AtlasFile(tiny)) as file:
        images = AtlasImages(file, 200, (12, 12))
        read = groups_read(monkeypatch)
        for image_id in (0, 70, 1, 71, 130, 131, 72, 2):
            assert images[image_id].id == image_id
        # blocks 0 and 1, then 2 instead of 0, and 0 again
        assert read == [("image", 0), ("image", 1), ("image", 2), ("image", 0)]
        read.clear()
        for image_id in (0, 1, 0, 1, 2, 0):
            assert images.whole(image_id) is not None
        assert read == [("picture", 0), ("picture", 1), ("picture", 2), ("picture", 0)]


def test_whoever_draws_on_a_whole_image_draws_on_a_copy(tiny: Path) -> None:
    images = backlight.open_atlas(tiny).images
    first = images.whole(0)
    assert first is not None
    kept = first.tobytes()
    first.paste((1, 2, 3), (0, 0, 12, 12))
    again = images.whole(0)
    assert again is not None
    assert again.tobytes() == kept != first.tobytes()


def test_a_whole_image_that_was_missing_is_looked_for_again(tiny: Path) -> None:
    with writing(tiny) as connection:
        kept = connection.execute("SELECT * FROM picture WHERE image_id = 0").fetchall()
        connection.execute("DELETE FROM picture WHERE image_id = 0")
    images = backlight.open_atlas(tiny).images
    assert images.whole(0) is None
    with writing(tiny) as connection:
        connection.executemany("INSERT INTO picture VALUES (?, ?)", kept)
    assert images.whole(0) is not None


def test_an_image_that_was_left_out_is_not_listed_but_told_with_its_reason(tiny: Path) -> None:
    images = backlight.open_atlas(tiny).images
    (skipped,) = images.skipped
    assert skipped.path == "a/bad.jpg"
    assert skipped.reason
    for image_id in (skipped.id, 6, 1000):
        assert images.get(image_id) is None
        with pytest.raises(KeyError, match=str(image_id)):
            images[image_id]


@pytest.mark.usefixtures("untyped")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("height = 0", "height must be a whole number from 1"),
        ("path = x'00'", "path must be a text"),
        ("label = x'00'", "label must be a text"),
    ],
)
def test_an_image_that_no_build_writes_is_refused(tiny: Path, change: str, message: str) -> None:
    with writing(tiny) as connection:
        connection.execute(f"UPDATE image SET {change} WHERE image_id = 4")
    images = backlight.open_atlas(tiny).images
    with pytest.raises(DamagedAtlasError, match=rf"table image \(image_id 0 to 63\): {message}"):
        images[0]
