import numpy as np
import pytest
from PIL import Image

from backlight.errors import BadInputError
from backlight.geometry import Box
from backlight.render import MapPanel, Tile, blend, mean_patch, overlay_figure, scale, strip, superpose_tiles

IMAGE = (12, 16)
RNG = np.random.default_rng(0)


def tile_at(row, col, value=1.0, shade=100, side=5):
    """A tile whose unit sits at (row, col), with one bright pixel there: the middle of its field."""
    box = Box(row - side // 2, col - side // 2, row + side // 2 + 1, col + side // 2 + 1)
    inside = box.clip(*IMAGE)
    projection = np.zeros((inside.height, inside.width, 3), np.float32)
    projection[row - inside.top, col - inside.left] = value
    return Tile(np.full((inside.height, inside.width, 3), shade, np.uint8), projection, box, IMAGE)


CORNERS = [(0, 0), (0, 15), (11, 0), (11, 15), (6, 7)]


def test_hits_at_all_borders_are_aligned_on_the_receptive_field():
    """Fails where the clipped tiles are aligned on their own top left corners."""
    added = superpose_tiles([tile_at(*place) for place in CORNERS])
    expected = np.zeros((5, 5, 3))
    expected[2, 2] = 5
    assert np.array_equal(added, expected)


def test_projections_are_added_as_they_are():
    assert superpose_tiles([tile_at(5, 5, 3.0), tile_at(6, 6, -0.5)])[2, 2, 0] == 2.5


def test_superposition_equals_its_replica_in_loops():
    tiles = [tile_at(*place) for place in CORNERS]
    for tile in tiles:
        tile.projection[...] = RNG.standard_normal(tile.projection.shape)
    expected = np.zeros((5, 5, 3))
    for tile in tiles:
        for row in range(5):
            for col in range(5):
                image_row, image_col = tile.box.top + row, tile.box.left + col
                if 0 <= image_row < IMAGE[0] and 0 <= image_col < IMAGE[1]:
                    expected[row, col] += tile.projection[
                        image_row - tile.inside.top, image_col - tile.inside.left
                    ]
    np.testing.assert_allclose(superpose_tiles(tiles), expected, rtol=1e-12)


def test_the_mean_patch_counts_only_images_that_reach_a_pixel():
    mean, counts = mean_patch([tile_at(0, 5, shade=10), tile_at(6, 5, shade=51)])
    assert counts[:, 0].tolist() == [1, 1, 2, 2, 2]
    assert mean[:, 0, 0].tolist() == [51, 51, 30, 30, 30]
    mean, counts = mean_patch([tile_at(0, 5, shade=10)])
    assert counts[0].sum() == mean[0].sum() == 0


def test_tiles_that_cannot_be_aligned_are_refused():
    with pytest.raises(BadInputError, match="got no tile"):
        superpose_tiles([])
    with pytest.raises(BadInputError, match=r"got \(3, 3, 3\), \(5, 5, 3\)"):
        superpose_tiles([tile_at(5, 5), tile_at(5, 5, side=3)])


def test_the_figure_shows_the_sum_and_hatches_what_no_image_reaches():
    picture = np.asarray(
        overlay_figure([MapPanel("channel 3", [tile_at(0, 5)] * 9)], "a layer", tile_size=40)
    )
    size = 3 * 40 + 2 * 2 + 2
    rows = np.nonzero((picture == 128).all(2).sum(1) > 2 * 40)[0]
    total = picture[rows.max() + 2 - size : rows.max() + 2, 24 : 24 + size]
    assert (total[52:72, 52:72] == 255).all(), "the middle pixel"
    assert (total[55:-1, 1:20] == 128).all(), "grey inside"
    assert (total[1:48, 1:-1] > 200).all(), "hatched above the image"
    assert (total[1:48, 1:-1] < 250).all()


def test_panels_without_or_with_few_hits_have_the_same_size():
    full, few, dead = ([tile_at(5, 5)] * n for n in (9, 2, 0))
    sizes = {overlay_figure([MapPanel("channel 3", tiles)], "a layer").size[0] for tiles in (full, few, dead)}
    assert len(sizes) == 1
    assert overlay_figure([MapPanel("channel 3", full)] * 20, "a layer").width <= 2400
    with pytest.raises(BadInputError, match="at least one feature map"):
        overlay_figure([], "a layer")
    with pytest.raises(BadInputError, match="at least 1 pixel large"):
        overlay_figure([MapPanel("channel 3", full)], "a layer", tile_size=0)


# One image


def test_where_the_projection_is_zero_the_photograph_shows_dimmed_and_grey():
    image = RNG.integers(0, 256, (6, 7, 3), dtype=np.uint8)
    shown = blend(image, np.zeros((6, 7, 3)))
    assert (shown == shown[..., :1]).all()
    luma = np.asarray(Image.fromarray(image).convert("L"), float)
    np.testing.assert_allclose(shown[..., 0], 128 + 0.5 * (luma - 128), atol=1)


def test_where_the_projection_is_strongest_it_shows_alone():
    image = RNG.integers(0, 256, (6, 7, 3), dtype=np.uint8)
    projection = np.zeros((6, 7, 3))
    projection[2, 3], projection[4, 5] = (2, 0, -2), (0.2, 0, 0)
    shown = blend(image, projection, "symmetric")
    assert shown[2, 3].tolist() == scale(projection, "symmetric")[2, 3].tolist() == [255, 128, 1]
    strength = np.sqrt(0.1)
    grey = 128 + 0.5 * (image[4, 5] @ np.array([0.299, 0.587, 0.114]) - 128)
    colour = np.array([128 + 12.7, 128, 128])
    np.testing.assert_allclose(shown[4, 5], (1 - strength) * grey + strength * colour, atol=1)
    with pytest.raises(BadInputError, match=r"got \(6, 7, 3\) and \(7, 6, 3\)"):
        blend(image, np.zeros((7, 6, 3)))


def test_a_strip_shows_each_picture_below_its_caption():
    pictures = [Image.new("RGB", (224, 224), colour) for colour in ("red", "lime", "blue")]
    shown = np.asarray(
        strip([("photograph", pictures[0]), ("a long caption " * 6, pictures[1]), ("", pictures[2])])
    )
    found = [np.nonzero((shown == p.getpixel((0, 0))).all(2)) for p in pictures]
    assert {(rows.min(), rows.max() - rows.min()) for rows, _ in found} == {(found[0][0].min(), 223)}
    assert [cols.min() - 25 for _, cols in found] == [0, 236, 472]
    above = shown[: found[0][0].min() - 1]
    assert (above[:, 260:480] < 128).any()
    assert (above[:, 500:] == 255).all(), "no caption, no ink"


def test_small_pictures_are_enlarged_by_a_whole_factor():
    pixels = RNG.integers(0, 2, (32, 32, 3), dtype=np.uint8) * 200
    shown = np.asarray(strip([("a", pixels)], legend="grey is zero"))
    box = shown[-24 - 17 - 16 - 1 - 224 : -24 - 17 - 16 - 1, 25 : 25 + 224]
    assert np.array_equal(box, pixels.repeat(7, 0).repeat(7, 1))
    with pytest.raises(BadInputError, match="at least one picture"):
        strip([])
