"""Sheets: each map's pictures stand where the pages say."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from backlight.atlas import Atlas
from backlight.geometry import Box
from backlight.render import Tile, draw_patch, draw_projection, into_image
from backlight.web.sheets import (
    LIGHT_SIDE,
    TILE,
    Sheet,
    _shown,
    draw_light,
    draw_sheet,
    draw_wholes,
    margin,
    shown_box,
    shown_hits,
    tile_size,
    whole_place,
)


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


def draw_magnitude(tile: Tile, size: int) -> Image.Image:
    largest = tile.projection.max(2, keepdims=True), -tile.projection.min(2, keepdims=True)
    return draw_projection(replace(tile, projection=np.maximum(*largest)), size, "root")


DRAWN = {
    "projections": draw_projection,
    "patches": draw_patch,
    "projections-signed": lambda tile, size: draw_projection(tile, size, "symmetric"),
    "projections-magnitude": draw_magnitude,
}


@pytest.mark.parametrize("kind", DRAWN)
def test_a_drawn_sheet_shows_the_hits_of_each_map(atlas: Atlas, kind: str) -> None:
    layer = atlas["3"]
    picture = Image.open(io.BytesIO(draw_sheet(layer, layer.channels, kind, 0)))
    sheet = Sheet("3", 1, len(layer.channels))
    assert picture.size == sheet.size
    drawn = np.asarray(picture.convert("RGB")).astype(int)
    draw, away = DRAWN[kind], dict.fromkeys(DRAWN, 0.0)
    for place, channel in enumerate(layer.channels):
        for hit in shown_hits(layer[channel]):
            assert hit.whole is not None
            inside = into_image(hit.tile, np.asarray(hit.whole.convert("RGB")))
            assert inside.is_whole
            where, wanted = sheet.tile(kind, place, hit.rank), np.asarray(draw(inside, TILE)).astype(int)
            top, left = where.top + (TILE - len(wanted)) // 2, where.left + (TILE - wanted.shape[1]) // 2
            found = drawn[top : top + wanted.shape[0], left : left + wanted.shape[1]]
            assert np.abs(found - wanted).mean() < 6  # the sheet is compressed
            for other in DRAWN:
                away[other] += np.abs(found - np.asarray(DRAWN[other](inside, TILE))).mean()
    assert min(away, key=away.__getitem__) == kind


def test_light_covers_what_is_not_active(atlas: Atlas) -> None:
    layer = atlas["1"]
    picture = Image.open(io.BytesIO(draw_light(layer, layer.channels, (12, 12))))
    cover = np.asarray(picture.convert("RGBA"))[..., 3].astype(int)
    sheet = Sheet("1", 1, len(layer.channels))
    for place, channel in enumerate(layer.channels):
        for hit in shown_hits(layer[channel]):
            where = sheet.light(place, hit.rank)
            own = cover[where.top : where.top + LIGHT_SIDE, where.left : where.left + LIGHT_SIDE]
            assert hit.row is not None
            assert hit.col is not None
            # a field of 3 x 3 with padding 1: the unit is at its own pixel of 12, and nowhere is less covered
            row, col = ((at + 0.5) * LIGHT_SIDE / 12 for at in (hit.row, hit.col))
            near = own[max(int(row) - 1, 0) : int(row) + 2, max(int(col) - 1, 0) : int(col) + 2]
            assert (
                near.min() <= own.min() + 30
            )  # between the middles of units it is interpolated, then compressed
            assert own.max() > own.min() + 80


def test_wholes_stand_where_their_places_say() -> None:
    images = [Image.new("RGB", (60, 40), (40 * i,) * 3) for i in range(5)]
    picture = Image.open(io.BytesIO(draw_wholes([*images[:4], None], (40, 60))))
    found = np.asarray(picture.convert("RGB")).astype(int)
    places = [whole_place(i, 5, (40, 60)) for i in range(5)]
    assert {(own.width, own.height) for own in places} == {picture.size}
    for i, place in enumerate(places[:4]):
        assert abs(found[place.top + 20, place.left + 30, 0] - 40 * i) < 12
    assert len({(own.left, own.top) for own in places}) == 5
    assert whole_place(16, 20, (40, 60)).href != places[0].href


def test_the_margin_of_a_layer_is_that_of_its_hits_and_none_where_units_see_all(atlas: Atlas) -> None:
    assert margin(atlas["5"]) == 0
    assert tile_size(atlas["5"].receptive_field, 0, (12, 12)) == (12, 12)
    own = margin(atlas["3"])
    field = atlas["3"].receptive_field
    assert field is not None
    assert tile_size(field, own, (12, 12)) == tuple(min(size - 2 * own, 12) for size in field.size)


@pytest.mark.parametrize("own", [0, 1])
def test_where_a_picture_lies_in_its_image_is_known_without_it(atlas: Atlas, own: int) -> None:
    size, moved = atlas.preprocessing.crop, 0
    for layer in (atlas["1"], atlas["3"]):
        for channel in layer.channels:
            for hit in shown_hits(layer[channel]):
                window = _shown(hit, "patches", own).window
                assert shown_box(hit.box, size, own, True) == (window.top, window.left, window.height)
                moved += window != hit.box
    assert moved


def test_a_picture_of_what_is_longer_than_the_image_lies_in_the_middle_of_a_square() -> None:
    assert shown_box(Box(-3, -9, 11, 22), (12, 16), 0, True) == (-2.0, 0.0, 16)
    assert shown_box(Box(-2, 3, 2, 7), (12, 16), 0, False) == (-2, 3, 4)
    assert shown_box(Box(-2, 3, 2, 7), (12, 16), 0, True) == (0, 3, 4)
