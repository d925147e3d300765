"""The reader: layers by name, figures, and what a notebook shows."""

from __future__ import annotations

import json
import sqlite3
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import backlight
from atlas.files import damage, make_earlier, make_network
from backlight.atlas.schema import writing
from backlight.errors import BadInputError, DamagedAtlasError, UnknownLayerError
from backlight.images import open_images
from backlight.text import visible


def test_unknown_layers_and_channels_are_named(atlas: backlight.Atlas) -> None:
    with pytest.raises(UnknownLayerError, match="no layer 'conv9'; it has relu1, relu2, fc"):
        atlas["conv9"]
    with pytest.raises(
        BadInputError, match=r"channel 99 is out of range for layer 'relu1' \(8 feature maps\)"
    ):
        atlas["relu1"][99]


def test_figures_of_an_atlas(atlas: backlight.Atlas) -> None:
    assert atlas.figure("relu2", [0, 1]).mode == "RGB"
    assert atlas["relu2"].figure(1) == atlas["relu2"][1].figure() == atlas.figure("relu2", 1)
    assert atlas["relu2"].superposed([1, 0], top=2) == atlas.superposed("relu2", [1, 0], top=2)
    assert atlas["relu2"][1].superposed(2) == atlas.superposed("relu2", 1, top=2)
    assert atlas["relu2"][1].superposed(2) != atlas["relu2"][1].superposed()
    with pytest.raises(BadInputError, match=r"^top is the number of hits to superpose, at least 1, got 0$"):
        atlas["relu2"][1].superposed(0)
    looks = {"scaling": "root", "full_field": True}
    assert atlas["relu2"][1].superposed(**looks) == atlas.superposed("relu2", 1, **looks)
    assert atlas["relu2"][1].figure(low_pass=True) == atlas.figure("relu2", 1, low_pass=True)
    assert atlas["relu2"].figure([0, 1], columns=1, **looks) == atlas.figure(
        "relu2", [0, 1], columns=1, **looks
    )
    assert atlas.superposed("relu2", [0], top=2).mode == "RGB"
    assert atlas.filters_figure("relu1").mode == "RGB"
    with pytest.raises(BadInputError, match="does not read the pixels directly"):
        atlas.filters_figure("relu2")
    np.testing.assert_array_equal(atlas["relu1"].filters, make_network().module.get_buffer("conv1_weight"))


def test_lines_of_a_notebook_are_short(atlas: backlight.Atlas, tiny: Path) -> None:
    assert repr(atlas) == "Atlas('small.atlas': 3 layers, 25 of 25 maps, 40 images)"
    assert repr(atlas.images) == "AtlasImages(40 images)"
    assert (
        repr(backlight.open_atlas(tiny))
        == "Atlas('tiny.atlas': 3 layers, 6 of 7 maps, 6 images, 1 of them left out)"
    )
    own = atlas["relu2"][1]
    assert repr(own) == (
        f"FeatureMap('relu2', 1: {len(own.hits)} hits, max {own.max:.4g}, active in {own.active_share:.0%} of images)"
    )
    hit = own.hits[0]
    assert repr(hit) == f"Hit(0: {hit.value:.4g} in image {hit.image_id} at row {hit.row}, column {hit.col})"


def test_notebooks_show_an_atlas_a_map_and_a_hit(atlas: backlight.Atlas) -> None:
    assert "<code>relu2</code></td><td>12</td>" in atlas._repr_html_()
    for thing in (atlas["relu2"][0], atlas["relu2"][0].hits[0]):
        assert thing._repr_png_().startswith(b"\x89PNG")


def test_names_from_a_file_cannot_steer_a_terminal(tiny: Path) -> None:
    assert visible("a\x1b]0;x\x07\n\u202eb") == "a\\x1b]0;x\\x07\\n\\u202eb"
    with writing(tiny) as connection:
        connection.execute("UPDATE layer SET name = ? WHERE layer_id = 0", ("\x1b[2J",))
    with pytest.raises(DamagedAtlasError, match="layer name must be printable") as raised:
        backlight.open_atlas(tiny)
    assert str(raised.value).isprintable()


def test_an_atlas_says_what_it_is_of(tiny: Path) -> None:
    atlas = backlight.open_atlas(tiny)
    assert (list(atlas), len(atlas), atlas.phase) == (["1", "3", "5"], 3, "done")
    assert (atlas.n_channels, atlas.n_scanned, atlas.image_set.n_images) == (3, 5, 6)
    assert (atlas.selection.top, atlas.selection.channels["3"]) == (2, (0, 1))
    assert atlas.model.input_shape == (3, *atlas.preprocessing.crop) == (3, 12, 12)
    assert [own.path for own in atlas.skipped] == ["a/bad.jpg"]
    assert atlas.origin == {"model": "demo", "images": "pictures", "weights": None}
    assert [layer.name for layer in atlas.layers] == list(atlas)


def test_an_atlas_built_from_python_has_no_origin(atlas: backlight.Atlas) -> None:
    assert atlas.origin == {}


def test_layers_that_are_not_those_of_the_plan_are_damage(tiny: Path) -> None:
    with writing(tiny) as connection:
        connection.execute("DELETE FROM layer WHERE layer_id = 2")
    with pytest.raises(DamagedAtlasError, match="table layer: the layers are not those of the plan"):
        backlight.open_atlas(tiny)


def test_of_many_layers_an_error_names_the_first_and_the_last(tiny: Path) -> None:
    with writing(tiny) as connection:
        (text,) = connection.execute("SELECT value FROM meta WHERE key = 'identity'").fetchone()
        identity = json.loads(text)
        for layer_id in range(3, 9):
            copy = "INSERT INTO layer SELECT ?, ?, description FROM layer WHERE layer_id = 0"
            connection.execute(copy, (layer_id, f"more{layer_id}"))
            identity["plan"]["layers"][f"more{layer_id}"] = []
        connection.execute("UPDATE meta SET value = ? WHERE key = 'identity'", (json.dumps(identity),))
    atlas = backlight.open_atlas(tiny)
    assert len(atlas) == 9
    with pytest.raises(UnknownLayerError, match=r"no layer 'none'; it has 1, 3, 5, more3, … more7, more8$"):
        atlas["none"]


def test_an_image_knows_which_feature_maps_it_is_a_hit_of(atlas: backlight.Atlas) -> None:
    expected: dict[int, list[tuple[str, int, int]]] = {image_id: [] for image_id in atlas.images}
    for layer in atlas.layers:
        for channel in layer:
            for hit in layer[channel].hits:
                expected[hit.image_id].append((layer.name, channel, hit.rank))
    assert [] in expected.values()
    for image_id, wanted in expected.items():
        found = atlas.hits_of(image_id)
        assert [(own.layer, own.channel, own.hit.rank) for own in found] == wanted
        assert {own.hit.image_id for own in found} <= {image_id}
        assert [own.hit for own in found] == [atlas[layer][c].hits[rank] for layer, c, rank in wanted]
    assert atlas.hits_of(10_000) == ()


@pytest.mark.parametrize("version", [1, 2, 3])
def test_an_atlas_of_an_earlier_format_knows_it_too(tiny: Path, version: int) -> None:
    expected = backlight.open_atlas(tiny).hits_of(0)
    make_earlier(tiny, version)
    assert expected
    assert backlight.open_atlas(tiny).hits_of(0) == expected


def test_hits_of_an_image_that_are_another_images_are_damage(tiny: Path) -> None:
    (own, *_) = backlight.open_atlas(tiny).hits_of(0)
    damage(tiny, f"UPDATE hit SET image_id = 1 WHERE image_id = 0 AND channel = {own.channel}")
    with pytest.raises(DamagedAtlasError, match="the rows are not what was written"):
        backlight.open_atlas(tiny).hits_of(1)


def test_whole_images_are_those_that_the_network_saw(atlas: backlight.Atlas, picture_folder: Path) -> None:
    source, preprocessing = open_images(picture_folder), atlas.preprocessing
    for image_id in atlas.images:
        whole = atlas.images.whole(image_id)
        assert (whole is not None) == bool(atlas.hits_of(image_id))
        if whole is not None:
            expected = np.asarray(preprocessing.picture(source.load(image_id)), int)
            assert np.abs(np.asarray(whole, int) - expected).mean() < 12
    for layer in atlas.layers:
        for hit in layer[3].hits:
            assert hit.whole == atlas.images.whole(hit.image_id)
            codes = hit.activation_map
            assert (codes is None) == (layer.name == "fc")
            assert codes is None or (codes.shape, codes[hit.row, hit.col]) == (layer.shape[1:], 255)


class Widened(nn.Module):
    """Layers whose strides are 1, 2, 2/3 and 0, of an image that is wider than high."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, stride=(2, 1))
        self.up, self.last = nn.Upsample(scale_factor=3, mode="nearest"), nn.Conv2d(4, 3, 3)
        self.fc = nn.LazyLinear(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.second(torch.relu(self.first(x))))
        x = torch.relu(self.last(self.up(x)))
        return self.fc((x * x.mean((2, 3), keepdim=True)).relu().flatten(1))


def test_the_view_of_hits_says_what_the_reader_says_boxes_included(
    tmp_path: Path, picture_folder: Path
) -> None:
    torch.manual_seed(0)
    model = Widened().eval()
    model(torch.zeros(1, 3, 16, 20))
    net = backlight.capture(
        model, (3, 16, 20), backlight.Preprocessing(None, (16, 20), (0.5,) * 3, (0.5,) * 3)
    )
    layers = [layer.name for layer in net.layers if layer.operator == "relu"] + ["fc"]
    path = tmp_path / "a.atlas"
    atlas = backlight.build(net, picture_folder, path, layers, top=3)
    strides = {layer.receptive_field and layer.receptive_field.stride for layer in atlas.layers}
    assert {None, (Fraction(2, 3), Fraction(1, 3))} <= strides
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA trusted_schema = OFF")
        cursor = connection.execute("SELECT * FROM hits")
        names, rows = [column for column, *_ in cursor.description], cursor.fetchall()
    assert " ".join(names) == "layer channel rank value image label row col top left bottom right"
    assert sorted(rows, key=repr) == sorted(
        (
            (layer.name, c, hit.rank, hit.value, hit.image.path, hit.label, hit.row, hit.col, *vars(hit.box).values())
            for layer in atlas.layers for c in layer for hit in layer[c].hits
        ),
        key=repr,
    )  # fmt: skip
    assert {row[0] for row in rows} == set(layers)


def test_a_layer_that_is_not_there_gets_the_nearest_name(atlas: backlight.Atlas) -> None:
    known = r"^small\.atlas has no layer 'relu_2'; it has relu1, relu2, fc"
    with pytest.raises(UnknownLayerError, match=rf"{known}; did you mean 'relu2'\?$"):
        atlas["relu_2"]
    with pytest.raises(UnknownLayerError, match=r"has no layer 'zzz'; it has relu1, relu2, fc$"):
        atlas["zzz"]
