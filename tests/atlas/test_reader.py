"""The reader: layers by name, figures, and what a notebook shows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import backlight
from atlas.files import make_network
from backlight.atlas.schema import writing
from backlight.errors import BadInputError, DamagedAtlasError, UnknownLayerError
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
    assert atlas["relu2"][1].figure() == atlas.figure("relu2", 1)
    assert atlas.superposed("relu2", [0], top=2).mode == "RGB"
    assert atlas.filters_figure("relu1").mode == "RGB"
    with pytest.raises(BadInputError, match="does not read the pixels directly"):
        atlas.filters_figure("relu2")
    np.testing.assert_array_equal(atlas["relu1"].filters, make_network().module.get_buffer("conv1_weight"))


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
