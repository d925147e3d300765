"""What a study shows of images: pictures of inputs, boxes and tiles, and a map's hits elsewhere."""

import re

import numpy as np
import pytest
import torch

import backlight
from backlight import Box, Unit
from backlight.errors import BadInputError
from backlight.studies.shown import (
    Others,
    image_names,
    inputs_of,
    others_of_atlas,
    others_of_images,
    tile_of,
    view,
)
from studies.planted import SIZE


def test_pictures_are_what_the_network_sees(planted):
    _, net, source = planted
    pictures = [source.load(i) for i in range(2)]
    batch, shown = inputs_of(net, pictures)
    assert torch.equal(batch, net.prepare(pictures))
    for picture, own in zip(pictures, shown, strict=True):
        np.testing.assert_array_equal(own, np.asarray(picture))


def test_a_tile_is_the_part_of_picture_and_projection_in_a_box():
    generator = np.random.default_rng(0)
    picture = generator.integers(0, 256, (9, 9, 3)).astype(np.uint8)
    for channels, shown in ((1, 1), (3, 3), (4, 1)):
        projection = generator.normal(size=(9, 9, channels))
        tile = tile_of(picture, projection, Box(-2, 4, 3, 9))
        np.testing.assert_array_equal(tile.patch, picture[:3, 4:9])
        wanted = projection if shown == channels else projection.mean(2, keepdims=True)
        np.testing.assert_allclose(tile.projection, wanted[:3, 4:9])


def test_tiles_come_back_from_arrays():
    picture = np.random.default_rng(1).integers(0, 256, (9, 9, 3)).astype(np.uint8)
    projection = np.random.default_rng(2).normal(size=(9, 9, 3)).astype(np.float32)
    tiles = [tile_of(picture, projection, box) for box in (Box(-2, 4, 3, 9), Box(3, 3, 8, 8))]
    back = Others.of(["a", "b"], tiles).tiles((9, 9))
    for tile, own in zip(tiles, back, strict=True):
        assert own.box == tile.box
        np.testing.assert_array_equal(own.patch, tile.patch)
        np.testing.assert_array_equal(own.projection, tile.projection)
    assert Others.of([], []).tiles((9, 9)) == []


def test_hits_elsewhere_are_those_of_the_atlas_without_the_unit_itself(planted):
    atlas, net, _ = planted
    hits = atlas["relu_1"][0].hits
    unit = Unit("relu_1", 0, hits[1].row, hits[1].col)
    found = others_of_atlas(atlas, net, unit, hits[1].value, 3)
    assert found.names == tuple(atlas.images[hits[i].image_id].path for i in (0, 2, 3))
    # another activation at the same place is another image
    assert (
        others_of_atlas(atlas, net, unit, 2 * hits[1].value, 2).names[1]
        == atlas.images[hits[1].image_id].path
    )


def test_a_map_that_was_not_projected_is_refused(planted, tmp_path):
    _, net, source = planted
    atlas = backlight.build(net, source, tmp_path / "one.atlas", ["relu_1"], maps=[1])
    message = (
        "map 0 of layer 'relu_1' is not projected in one.atlas; build it with that map, or choose the channel"
    )
    with pytest.raises(BadInputError, match=re.escape(f"{message} among 1")):
        others_of_atlas(atlas, net, Unit("relu_1", 0, 0, 0), 1.0, 3)


def test_in_other_images_the_strongest_unit_of_the_map_is_shown(planted):
    _, net, source = planted
    pictures = [source.load(i) for i in range(3)]
    found = others_of_images(net, pictures, Unit("relu_1", 0, 2, 2), backlight.DECONVNET)
    assert found.names == ("image 0", "image 1", "image 2")
    units = backlight.strongest(net, net.prepare(pictures), "relu_1", 0)
    assert [tuple(own) for own in found.boxes.tolist()] == [
        (b.top, b.left, b.bottom, b.right) for b in (view(net, net.layer("relu_1"), own) for own in units)
    ]


def test_a_layer_without_a_place_sees_the_whole_image(planted):
    _, net, _ = planted
    assert view(net, net.layer("relu_1"), Unit("relu_1", 0, None, None)) == Box(0, 0, SIZE, SIZE)


def test_images_are_called_by_their_files():
    assert image_names("dog.jpg", 1) == ["dog.jpg"]
    assert image_names([np.zeros((2, 2, 3), np.uint8), "b/c.png"], 2) == ["image 0", "b/c.png"]
    assert image_names(torch.zeros(2, 3, 4, 4), 2) == ["image 0", "image 1"]
