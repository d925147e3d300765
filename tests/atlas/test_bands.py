"""Examples of bands: those that the scan keeps, projected like hits if that is asked for, and checked when read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import backlight
from atlas.files import damage, make_earlier, make_network
from backlight import build, open_atlas, project
from backlight.atlas.schema import writing
from backlight.errors import DamagedAtlasError
from backlight.images import open_images
from backlight.scan import HISTOGRAM_EDGES
from conftest import make_pictures

ASKED = {"layers": ["relu2", "fc"], "top": 2, "maps": 2, "batch_size": 8, "compile": "off"}


def test_examples_are_those_of_the_scan_and_one_for_each_bin(tmp_path: Path, picture_folder: Path) -> None:
    net = make_network()
    found = build(net, picture_folder, tmp_path / "a.atlas", **ASKED)
    scanned = backlight.scan(net, str(picture_folder), ["relu2", "fc"], top=2, compile="off")
    for layer in found.layers:
        bands = scanned.layers[layer.name].bands
        assert bands is not None
        for channel in layer:
            own = layer[channel].bands
            if channel not in layer.channels:
                assert own == ()
                continue
            expected = [
                (b, v, i, *((None, None) if r < 0 else (r, c))) for b, v, i, r, c in bands.of(channel)
            ]
            assert [(e.bin, e.value, e.image_id, e.row, e.col) for e in own] == expected
            assert [e.bin for e in own] == (np.flatnonzero(layer[channel].histogram[1:]) + 1).tolist()
            assert all(e.low < e.value <= e.high for e in own)
            assert all((e.low, e.high) == (HISTOGRAM_EDGES[e.bin - 1], HISTOGRAM_EDGES[e.bin]) for e in own)
            assert [e.tile for e in own] == [None] * len(own)
            assert all(e.label in ("a", "b") for e in own)


def test_their_tiles_are_the_projections_of_their_units(tmp_path: Path, picture_folder: Path) -> None:
    net, source = make_network(), open_images(picture_folder)
    found = build(net, picture_folder, tmp_path / "a.atlas", **ASKED, bands=True)["relu2"]
    for example in found[found.channels[0]].bands:
        picture = net.preprocessing.picture(source.load(example.image_id))
        unit = backlight.Unit("relu2", found.channels[0], example.row, example.col)
        (whole,) = project(net, net.preprocessing.normalise([picture]), [unit])
        inside = example.box.clip(32, 32)
        expected = whole.permute(1, 2, 0).numpy()[inside.slices()]
        assert example.tile is not None
        np.testing.assert_allclose(
            example.tile.projection, expected, atol=np.abs(expected).max() / 100, rtol=0
        )
        assert np.abs(example.tile.patch.astype(int) - np.asarray(picture)[inside.slices()]).mean() < 12
        assert example.whole is not None
        assert np.abs(np.asarray(example.whole, int) - np.asarray(picture)).mean() < 12


def test_an_image_of_an_example_that_is_not_projected_need_not_be_whole(tmp_path: Path) -> None:
    pictures = make_pictures(tmp_path / "pictures", 30)
    found = build(make_network(), pictures, tmp_path / "a.atlas", **ASKED)
    wholes = [e.whole for layer in found.layers for c in layer.channels for e in layer[c].bands]
    assert None in wholes
    assert any(own is not None for own in wholes)  # it is a hit, too


@pytest.mark.usefixtures("untyped")
@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE band SET bin = 0 WHERE channel = 0 AND layer_id = 0", "bin must be a whole number from 1 to 98"),
        ("UPDATE band SET bin = 99 WHERE channel = 0 AND layer_id = 0", "bin must be a whole number from 1 to 98"),
        ("UPDATE band SET value = 2e9", r"value must be above \S+ and at most \S+ in bin \d+, got 2e\+09"),
        ("UPDATE band SET value = -1", r"value must be above \S+ and at most \S+ in bin \d+, got -1"),
        ("UPDATE band SET value = 'word'", "value must be a finite number, got 'word'"),
        ("UPDATE band SET row = 12 WHERE layer_id = 0", "row must be a whole number from 0 to 11, got 12"),
        ("UPDATE band SET col = NULL WHERE layer_id = 0", "col must be a whole number from 0 to 11, got None"),
        ("UPDATE band SET image_id = 6", "image_id must be a whole number from 0 to 5"),
    ],
)  # fmt: skip
def test_examples_that_no_build_writes_are_refused(tiny: Path, statement: str, message: str) -> None:
    with writing(tiny) as connection:
        only_first = "rowid = (SELECT min(rowid) FROM band)"
        connection.execute(f"{statement} {'AND' if 'WHERE' in statement else 'WHERE'} {only_first}")
    with pytest.raises(DamagedAtlasError, match=rf"table band \(layer_id 0, channel 0\): {message}"):
        _ = open_atlas(tiny)["1"][0].bands


def test_in_an_atlas_with_bands_a_missing_projection_is_damage(tiny: Path) -> None:
    example = open_atlas(tiny)["1"][0].bands[0]
    where = f"layer_id = 0 AND channel = 0 AND bin = {example.bin}"
    damage(
        tiny,
        f"UPDATE band SET projection = NULL WHERE {where}",
        f"DELETE FROM checksum WHERE kind = 'band_tile' AND key2 = 0 AND key3 = {example.bin}",
    )
    with pytest.raises(
        DamagedAtlasError, match=rf"channel 0, bin {example.bin}\): the projection is missing"
    ):
        _ = open_atlas(tiny)["1"][0].bands[0].tile


@pytest.mark.parametrize("version", [1, 2])
def test_atlases_of_earlier_formats_have_none(tiny: Path, version: int) -> None:
    make_earlier(tiny, version)
    atlas = open_atlas(tiny)
    assert all(own.bands == () for layer in atlas.layers for own in layer.values())
