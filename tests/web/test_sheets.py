"""Sheets: each map's pictures stand where the pages say."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from backlight.atlas import Atlas
from backlight.render import draw_patch, draw_projection
from backlight.web.sheets import TILE, Sheet, draw_sheet, margin, shown_hits, tile_size


def test_a_sheet_has_eight_maps_a_row_and_three_by_three_tiles_a_map() -> None:
    sheet = Sheet("conv", 2, 11)
    assert sheet.size == (8 * 3 * TILE, 2 * 3 * TILE)
    assert Sheet("conv", 1, 3).size == (3 * 3 * TILE, 3 * TILE)
    block = sheet.block("patches", 9)
    assert (block.href, block.left, block.top, block.side) == (
        "sheets/conv--2-patches.webp", 3 * TILE, 3 * TILE, 3 * TILE,
    )  # fmt: skip
    tile = sheet.tile("patches", 9, 5)
    assert (tile.left, tile.top, tile.side) == (5 * TILE, 4 * TILE, TILE)


@pytest.mark.parametrize("kind", ["projections", "patches"])
def test_a_drawn_sheet_shows_the_hits_of_each_map(atlas: Atlas, kind: str) -> None:
    layer = atlas["3"]
    picture = Image.open(io.BytesIO(draw_sheet(layer, layer.channels, kind, 0)))
    sheet = Sheet("3", 1, len(layer.channels))
    assert picture.size == sheet.size
    drawn = np.asarray(picture.convert("RGB")).astype(int)
    draw = draw_projection if kind == "projections" else draw_patch
    for place, channel in enumerate(layer.channels):
        for hit in shown_hits(layer[channel]):
            where, wanted = sheet.tile(kind, place, hit.rank), np.asarray(draw(hit.tile, TILE)).astype(int)
            top, left = where.top + (TILE - len(wanted)) // 2, where.left + (TILE - wanted.shape[1]) // 2
            found = drawn[top : top + wanted.shape[0], left : left + wanted.shape[1]]
            assert np.abs(found - wanted).mean() < 6  # the sheet is compressed


def test_the_margin_of_a_layer_is_that_of_its_hits_and_none_where_units_see_all(atlas: Atlas) -> None:
    assert margin(atlas["5"]) == 0
    assert tile_size(atlas["5"], 0, (12, 12)) == (12, 12)
    own = margin(atlas["3"])
    field = atlas["3"].receptive_field
    assert field is not None
    assert tile_size(atlas["3"], own, (12, 12)) == tuple(min(size - 2 * own, 12) for size in field.size)
