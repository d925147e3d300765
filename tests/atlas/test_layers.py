"""The layers of an atlas."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import backlight
from atlas.files import make_network
from backlight import build
from backlight.atlas.schema import writing
from backlight.errors import AtlasError, BadInputError, DamagedAtlasError


def test_a_map_not_projected_is_refused_in_a_figure(tmp_path: Path, picture_folder: Path) -> None:
    built = build(make_network(), picture_folder, tmp_path / "few.atlas", ["relu2"], maps=[2, 5])
    with pytest.raises(BadInputError, match="channel 3 of layer 'relu2' was not projected, only 2, 5"):
        built.figure("relu2", [3])
    for draw in (built["relu2"][3].figure, built["relu2"][3].superposed):
        with pytest.raises(
            BadInputError, match=r"^feature map 3 of 'relu2' has no hits to draw: it was not projected"
        ):
            draw()
    assert repr(built["relu2"][3]).startswith("FeatureMap('relu2', 3: not projected, max ")
    assert repr(replace(built["relu2"][3], active_share=0.0)) == "FeatureMap('relu2', 3: dead)"


def test_a_layer_maps_its_channels_to_feature_maps(tiny: Path) -> None:
    layer = backlight.open_atlas(tiny)["3"]
    assert (len(layer), list(layer), layer.n_maps, layer.channels) == (3, [0, 1, 2], 3, (0, 1))
    assert (layer.shape, layer.operator, layer.rectified) == ((3, 5, 5), "relu", True)
    assert repr(layer) == "AtlasLayer('3', 2 of 3 maps 5x5)"
    assert [own.channel for own in layer.projected([1, 0])] == [1, 0]
    assert [own.channel for own in layer.projected(1)] == [1]
    assert [own.channel for own in layer.projected()] == [0, 1]
    other = layer[2]
    assert (other.hits, other.is_projected, other.histogram.sum()) == ((), False, 5)


@pytest.mark.parametrize("channel", [-1, 3])
def test_a_channel_out_of_range_is_refused(tiny: Path, channel: int) -> None:
    layer = backlight.open_atlas(tiny)["3"]
    message = rf"channel {channel} is out of range for layer '3' \(3 feature maps\)"
    for ask in (layer.__getitem__, layer.projected):
        with pytest.raises(BadInputError, match=message):
            ask(channel)


def test_the_heading_of_a_layer_says_what_its_study_found(tiny: Path) -> None:
    atlas = backlight.open_atlas(tiny)
    heading = atlas["3"].heading()
    assert (heading.layer, heading.n_maps, heading.n_images, heading.top) == ("3", 3, 5, 2)
    assert heading.rules == "deconvnet"
    assert heading.evidence.startswith(
        "evidence for the layer (2 maps): 50% lost when covered (centre 25%): as good; advised: guided."
    )
    assert atlas["1"].heading().evidence == ""


@pytest.mark.usefixtures("untyped")
@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE hit SET rank = rank + 5 WHERE layer_id = 0", "rank must be a whole number from 0"),
        ("UPDATE hit SET row = 12 WHERE layer_id = 0", "row must be a whole number from 0 to 11, got 12"),
        ("UPDATE hit SET col = NULL WHERE layer_id = 0", "col must be a whole number from 0 to 11, got None"),
        ("UPDATE hit SET value = 1e999 WHERE layer_id = 0", "value must be a finite number, got inf"),
        ("UPDATE hit SET image_id = 6 WHERE layer_id = 0", "image_id must be a whole number from 0 to 5"),
        (
            "UPDATE feature_map SET n_active = 6 WHERE layer_id = 0",
            "n_active must be a whole number from 0 to 5",
        ),
        ("UPDATE feature_map SET histogram = x'00' WHERE layer_id = 0", "a histogram has .* got 1 bytes"),
        ("DELETE FROM feature_map WHERE layer_id = 0", "the feature map is missing"),
    ],
)
def test_a_map_that_no_build_writes_is_refused(tiny: Path, statement: str, message: str) -> None:
    with writing(tiny) as connection:
        connection.execute(statement)
    layer = backlight.open_atlas(tiny)["1"]
    with pytest.raises(DamagedAtlasError, match=rf"hit \(layer_id 0, channel 0\): {message}"):
        layer[0]


@pytest.mark.usefixtures("untyped")
def test_a_hit_of_a_unit_without_a_place_has_none(tiny: Path) -> None:
    with writing(tiny) as connection:
        connection.execute("UPDATE hit SET row = 0 WHERE layer_id = 2")
    layer = backlight.open_atlas(tiny)["5"]
    with pytest.raises(DamagedAtlasError, match="row and column of a unit without a place must be missing"):
        for channel in layer:
            layer[channel]


@pytest.mark.usefixtures("untyped")
def test_before_the_scan_is_finished_there_are_no_maps(tiny: Path) -> None:
    with writing(tiny) as connection:
        connection.execute("UPDATE meta SET value = '\"scan\"' WHERE key = 'phase'")
        connection.execute("DELETE FROM feature_map")
    layer = backlight.open_atlas(tiny)["1"]
    with pytest.raises(
        AtlasError, match="the scan of this atlas is not finished; call build again as before"
    ):
        layer[0]
