"""Figures take a heading and feature maps, wherever those come from: no atlas file is needed."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from backlight.atlas.drawing import FigureLook, draw
from backlight.atlas.headings import Heading
from backlight.atlas.records import FeatureMap, Hit, StoredImage, StoredTile, TileKey, TileSource
from backlight.errors import BadInputError
from backlight.geometry import Axis, Box, ReceptiveField
from backlight.storage.tiles import encode_patch, encode_projection

FIELD = ReceptiveField(Axis(4, Fraction(2), 0), Axis(4, Fraction(2), 0))
HEADING = Heading("Net", "relu1", 8, 100, "deconvnet projections", FIELD, 9)


class InMemory:
    """Tiles that lie in no file."""

    path, n_channels, image_size = Path("nowhere"), 3, (8, 8)

    def image(self, image_id: int, key: TileKey) -> StoredImage:
        return StoredImage(image_id, f"{image_id}.png", None, (8, 8))

    def tile(self, key: TileKey) -> StoredTile:
        values = np.zeros((4, 4, 3), np.float32)
        values[1, 2] = 1
        return encode_patch(np.full((4, 4, 3), 100, np.uint8)), *encode_projection(values)

    def heading(self) -> Heading:
        return HEADING


def feature_map() -> FeatureMap:
    source = InMemory()
    hits = tuple(Hit(rank, 2.0, rank, 1, 1, Box(2, 2, 6, 6), source, (0, 3, rank)) for rank in range(2))
    return FeatureMap("relu1", 3, hits, 0.1, 2.0, 0.5, True, np.zeros(1, np.int64), None, None, source)


def test_figures_are_drawn_without_a_file() -> None:
    own = feature_map()
    assert isinstance(InMemory(), TileSource)
    assert draw("map_figure", HEADING, [own], FigureLook()) == own.figure()
    assert draw("superposed_figure", HEADING, [own], FigureLook(columns=1)).width > 100
    assert own._repr_png_().startswith(b"\x89PNG")
    assert own.hits[0]._repr_png_().startswith(b"\x89PNG")


def test_filters_of_a_deeper_layer_are_refused() -> None:
    with pytest.raises(BadInputError, match="layer 'relu1' does not read the pixels directly"):
        draw("filters_figure", HEADING, None, None)


def test_a_heading_says_what_was_done() -> None:
    assert HEADING.title == "Net · relu1"
    assert HEADING.subtitle() == (
        "8 feature maps; 100 images; deconvnet projections; active: share of the images in which the map is above zero"
    )
    gated = ReceptiveField(FIELD.rows, FIELD.cols, gates_ignored=True)
    own = Heading("Net", "relu1", 8, 3, "guided projections", gated, 1000, "evidence")
    assert "guided projections (gates held fixed); a part; active" in own.subtitle("a part")
    assert own.subtitle().endswith("above zero; evidence")
    assert own.n_places == 64
