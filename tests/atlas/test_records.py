"""Records: a tile is decoded only if it is what a build writes."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atlas.files import first_hit, put_tile
from atlas.in_memory import feature_map
from backlight.atlas import Stability
from backlight.errors import DamagedAtlasError
from backlight.geometry import Box


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


def test_a_hit_fetches_its_image_and_tile_from_its_source() -> None:
    own = feature_map()
    hit = own.hits[1]
    assert (hit.image.id, hit.image.path) == (1, "1.png")
    assert hit.patch.size == (4, 4)
    assert np.abs(np.asarray(hit.patch, int) - 100).max() <= 2
    values = hit.projection_values
    assert values.shape == (4, 4, 3)
    assert np.argwhere(values[..., 0]).tolist() == [[1, 2]]
    picture = np.asarray(hit.projection)
    assert (picture[1, 2] > 128).all()
    assert len(np.unique(picture[values == 0])) == 1  # grey is zero
    assert (hit.tile.box, hit.tile.patch.shape) == (hit.box, (4, 4, 3))


def test_half_a_tile_has_the_place_of_the_tile_and_nothing_in_the_other_half() -> None:
    hit = feature_map().hits[1]
    patch, projection = hit.patch_tile, hit.projection_tile
    for own in (patch, projection):
        assert (own.box, own.image_size, own.unit) == (hit.box, hit.tile.image_size, None)
        assert own.projection.dtype == hit.tile.projection.dtype
    np.testing.assert_array_equal(patch.patch, hit.tile.patch)
    np.testing.assert_array_equal(projection.projection, hit.tile.projection)
    assert hit.tile.patch.any()
    assert hit.tile.projection.any()
    assert not patch.projection.any()
    assert not projection.patch.any()


def test_a_tile_has_the_size_of_the_part_of_its_box_inside_the_image() -> None:
    beyond = replace(feature_map().hits[0], box=Box(-2, 5, 2, 9))
    with pytest.raises(DamagedAtlasError, match="a tile of 2 x 3 pixels is expected, got 4 x 4"):
        _ = beyond.patch


def test_a_map_that_is_active_in_no_image_is_dead() -> None:
    own = feature_map()
    assert not own.dead
    assert replace(own, active_share=0.0, hits=()).dead


def test_equal_hits_of_two_files_are_equal() -> None:
    one, other = feature_map(), feature_map()
    assert one == other
    assert one.hits[0] != one.hits[1]


def test_stability_in_words_stands_beside_the_facts_of_a_map() -> None:
    assert Stability(7, 9).text == "7 of 9 stable"
    own = replace(feature_map(), is_projected=False, stability=Stability(0, 3))
    assert "active in 50.0% of images, 0 of 3 stable" in (own._repr_html_() or "")
    assert "stable" not in (replace(own, stability=None)._repr_html_() or "")


def test_a_hit_shows_its_whole_image_and_where_its_map_is_active() -> None:
    own, other = feature_map().hits
    assert own.whole is not None
    assert (own.whole.size, own.whole.getpixel((0, 0))) == ((8, 8), (0, 0, 0))
    assert own.label is None
    assert own.activation_map is not None
    assert own.activation_map.tolist() == [[0, 128], [255, 3]]
    assert other.activation_map is None
    assert replace(own, _map_size=None).activation_map is None  # a fully connected unit
    assert replace(own, image_id=7).whole is None
    with pytest.raises(
        DamagedAtlasError, match=r"table activation \(layer_id 0, channel 3, rank 0\): a map of 2 x 3"
    ):
        _ = replace(own, _map_size=(2, 3)).activation_map
