from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backlight.errors import BadInputError
from backlight.geometry import Box
from backlight.render import MapPanel, Tile, figure, filter_figure, layer_figure
from render.finding import box_of

EMPTY = (247, 247, 248)


def solid(number, side=8, box=None):
    """A tile whose patch is one colour that names it, and whose projection is one of its corners."""
    patch = np.full((side, side, 3), (10, 20, number), np.uint8)
    projection = np.zeros((side, side, 3), np.float32)
    projection[0, 0, 0] = 1
    return Tile(patch, projection, box or Box(0, 0, side, side), (side, side))


def panel(n_tiles, first=0, label="channel 5", **fields):
    return MapPanel(label, [solid(first + i) for i in range(n_tiles)], **fields)


def patch_boxes(picture, numbers):
    return [box_of(picture, (10, 20, number)) for number in numbers]


def test_patches_stand_in_reading_order_at_the_size_asked_for():
    picture = layer_figure([panel(9)], "a layer", tile_size=40)
    boxes = patch_boxes(picture, range(9))
    assert {(b.height, b.width) for b in boxes} == {(40, 40)}
    first = boxes[0]
    assert [(b.top - first.top, b.left - first.left) for b in boxes] == [
        (42 * row, 42 * col) for row in range(3) for col in range(3)
    ]


def test_projections_stand_left_of_the_patches_in_the_same_order():
    tiles = [solid(i) for i in range(4)]
    tiles[2].projection[...] = 0
    picture = np.asarray(layer_figure([MapPanel("channel 5", tiles, top=4)], "a layer", tile_size=40))
    for tile, patch in zip(tiles, patch_boxes(picture, range(4)), strict=True):
        shift = 2 * 40 + 2 + 2 + 10
        left = picture[patch.top : patch.bottom, patch.left - shift : patch.right - shift]
        expected = np.full((40, 40, 3), 128)
        expected[:5, :5, 0] += 127 * int(tile.projection.any())
        assert np.array_equal(left, expected)


@pytest.mark.parametrize(("n_tiles", "columns"), [(1, 1), (2, 2), (4, 2), (5, 3), (9, 3), (10, 4), (16, 4)])
def test_the_grid_is_the_squarest_that_holds_the_hits(n_tiles, columns):
    picture = layer_figure([panel(n_tiles, top=n_tiles)], "a layer", tile_size=20)
    boxes = patch_boxes(picture, range(n_tiles))
    assert len({b.left for b in boxes}) == columns
    assert len({b.top for b in boxes}) == -(-n_tiles // columns)


def test_maps_stand_in_reading_order_and_columns_are_kept():
    panels = [panel(1, first=i, top=1) for i in range(5)]
    boxes = patch_boxes(layer_figure(panels, "a layer", columns=3, tile_size=100), range(5))
    assert len({b.left for b in boxes[:3]}) == 3
    assert [b.left for b in boxes[3:]] == [b.left for b in boxes[:2]]
    assert boxes[0].top == boxes[1].top == boxes[2].top < boxes[3].top == boxes[4].top


@pytest.mark.parametrize("n_panels", [1, 2, 20])
@pytest.mark.parametrize("side", [3, 64])
def test_a_figure_is_at_most_2400_pixels_wide(n_panels, side):
    panels = [MapPanel("channel 5", [solid(0, side)] * 9)] * n_panels
    assert layer_figure(panels, "a layer").width <= 2400


def test_words_never_touch_the_tiles():
    """The figure with other words differs only where no tile is."""
    words = {"label": "gjpqy" * 40, "caption": "ÅQ|_" * 40}
    one = layer_figure([panel(9), panel(9, 9)], "T", columns=2, tile_size=40)
    other = layer_figure([panel(9, **words), panel(9, 9, **words)], "j", columns=2, tile_size=40)
    assert one.size == other.size
    changed = (np.asarray(one) != np.asarray(other)).any(2)
    boxes = patch_boxes(one, range(18))
    assert boxes == patch_boxes(other, range(18))
    assert not changed[boxes[0].top - 1 :].any(), "labels lie above the tiles"
    gap = slice(boxes[2].right + 1, boxes[9].left - 3 * 42 - 11)
    assert not changed[60:, gap].any(), "and do not reach the next map"


def test_title_and_legend_take_space_of_their_own():
    plain = layer_figure([panel(9)], "a", tile_size=40)
    wrapped = layer_figure([panel(9)], "a " * 200, "b " * 300, tile_size=40)
    assert wrapped.width == plain.width
    assert wrapped.height > plain.height
    tiles = slice(box_of(plain, (10, 20, 0)).top, box_of(plain, (10, 20, 8)).bottom)
    below = np.asarray(plain)[tiles.stop + 1 :]
    assert (below < 200).any(), "the legend"
    assert (below[:16] == 255).all(), "with white between"


def test_missing_hits_are_blank_and_counted():
    few = panel(5, caption="mean 0.1")
    assert few.note == "mean 0.1 · 5 of 9 hits"
    assert panel(9).note == ""
    picture = np.asarray(layer_figure([few], "a layer", tile_size=40))
    last = patch_boxes(picture, [4])[0]
    assert (picture[last.top : last.bottom, last.left + 42 : last.right + 42] == EMPTY).all()


def test_a_dead_map_says_so_in_the_place_of_its_tiles():
    both = np.asarray(layer_figure([panel(9), MapPanel("channel 6", [])], "a layer", columns=2, tile_size=40))
    boxes = patch_boxes(both, [0, 8])
    dead = both[boxes[0].top - 1 : boxes[1].bottom + 1, boxes[1].right + 1 + 28 : -24]
    assert (dead[0] == EMPTY).all()
    rows, _ = np.nonzero((dead < 200).any(2))
    assert 50 < rows.min() < rows.max() < 80, "words in the middle"
    assert layer_figure([MapPanel("channel 6", [])], "all dead").mode == "RGB"


def legend_of(monkeypatch, panels, **options):
    seen = []
    real = figure.page
    monkeypatch.setattr(figure, "page", lambda blocks, frame: seen.append(frame) or real(blocks, frame))
    layer_figure(panels, "a layer", **options)
    return seen[0].legend


def test_the_legend_says_what_is_there(monkeypatch):
    whole = legend_of(monkeypatch, [panel(9)])
    assert "grey is zero" in whole
    assert "8 x 8 pixels" in whole
    assert "Hatched" not in whole
    assert "Blank" not in whole
    assert "black" in legend_of(monkeypatch, [panel(9)], scaling="min-max")
    assert "Blank: no further hit." in legend_of(monkeypatch, [panel(3)])


def test_the_legend_explains_the_hatching(monkeypatch):
    def tile(box):
        inside = box.clip(8, 8)
        size = (inside.height, inside.width, 3)
        return Tile(np.zeros(size, np.uint8), np.zeros(size, np.float32), box, (8, 8))

    legend = legend_of(monkeypatch, [MapPanel("a", [tile(Box(-1, 0, 4, 5))])])
    assert "Hatched: outside of the image." in legend
    assert "or of the receptive field" in legend_of(monkeypatch, [MapPanel("a", [tile(Box(-9, 0, 4, 5))])])
    assert "Cross" not in legend
    marked = replace(tile(Box(0, 0, 4, 5)), unit=(0.0, 0.0))
    legend = legend_of(monkeypatch, [MapPanel("a", [marked])])
    assert "Cross: the unit." in legend
    assert "Hatched" not in legend


def test_the_legend_gives_the_size_of_what_is_drawn(monkeypatch):
    inside = MapPanel("map 0", [solid(1, 5, Box(0, 0, 5, 5))])
    larger = MapPanel(
        "map 0", [Tile(np.zeros((6, 9, 3), np.uint8), np.zeros((6, 9, 3)), Box(-20, -30, 40, 50), (6, 9))]
    )
    assert "a tile is 5 x 5 pixels" in legend_of(monkeypatch, [inside])
    assert "a tile is 6 x 9 pixels" in legend_of(monkeypatch, [larger])


def test_other_rules_stand_between_the_projections_and_the_patches(monkeypatch):
    own, other = solid(1), solid(2)
    panels = [MapPanel("channel 5", [own] * 9, others=[[other] * 9])]
    plain = layer_figure([MapPanel("channel 5", [own] * 9)], "a layer", tile_size=40)
    both = layer_figure(panels, "a layer", tile_size=40, rules=("guided", "deconvnet"))
    grid = 3 * 40 + 2 * 2 + 2
    assert both.width == plain.width + grid + 10
    assert "First by guided, then by deconvnet." in legend_of(
        monkeypatch, panels, rules=("guided", "deconvnet")
    )
    assert "First by" not in legend_of(monkeypatch, [panel(9)])


def test_a_dead_map_beside_others_keeps_their_size():
    panels = [
        MapPanel("channel 5", [solid(1)] * 9, others=[[solid(2)] * 9]),
        MapPanel("dead", [], others=[[]]),
    ]
    assert layer_figure(panels, "a layer", rules=("guided", "deconvnet"), columns=2).mode == "RGB"


def test_the_legend_ends_with_what_the_words_of_captions_mean(monkeypatch):
    assert legend_of(monkeypatch, [panel(9)], terms="Active: often.").endswith("Active: often.")


def test_the_same_input_gives_the_same_bytes():
    assert layer_figure([panel(9)], "a layer").tobytes() == layer_figure([panel(9)], "a layer").tobytes()


def test_figures_that_cannot_be_laid_out_are_refused():
    with pytest.raises(BadInputError, match="at least one feature map, got none"):
        layer_figure([], "a layer")
    with pytest.raises(BadInputError, match="at least 1 column, got 0"):
        layer_figure([panel(9)], "a layer", columns=0)
    with pytest.raises(BadInputError, match="must be at least 1 pixel large, got 0"):
        layer_figure([panel(9)], "a layer", tile_size=0)
    with pytest.raises(BadInputError, match="unknown scaling 'loud'"):
        layer_figure([panel(9)], "a layer", scaling="loud")


def test_no_picture_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    layer_figure([panel(9)], "a layer")
    assert list(Path().iterdir()) == []
    assert isinstance(filter_figure(np.ones((2, 3, 3, 3)), "filters"), Image.Image)
