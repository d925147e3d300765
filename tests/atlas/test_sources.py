"""Sources: what an example of a band fetches."""

from __future__ import annotations

import numpy as np
import pytest

from atlas.in_memory import InMemory, feature_map
from backlight.atlas.sources import BandExample, TileSource


class Broken(InMemory):
    """A source whose tiles are of another size."""

    def tile(self, key: tuple[int, int, int]) -> tuple[bytes, bytes, float]:
        patch, projection, scale = super().tile(key)
        return patch[:40], projection, scale


def test_an_example_that_was_projected_has_a_tile() -> None:
    own, other = feature_map().bands
    assert (own.bin, own.low, own.high, own.value, own.image_id) == (1, 1, 2, 1.5, 1)
    assert own.tile is not None
    assert own.tile.patch.shape == own.tile.projection.shape == (4, 4, 3)
    assert np.argwhere(own.tile.projection[..., 0]).tolist() == [[1, 2]]
    assert own.patch is not None
    np.testing.assert_array_equal(np.asarray(own.patch), own.tile.patch)
    assert own.projection is not None
    assert (np.asarray(own.projection)[1, 2] > 128).all()
    assert (other.tile, other.patch, other.projection) == (None, None, None)
    assert (own.is_projected, other.is_projected) == (True, False)


def test_half_a_tile_of_an_example_has_nothing_in_the_other_half() -> None:
    own, other = feature_map().bands
    patch, projection = own.patch_tile, own.projection_tile
    assert patch is not None
    assert projection is not None
    assert own.tile is not None
    assert patch.box == projection.box == own.box
    np.testing.assert_array_equal(patch.patch, own.tile.patch)
    np.testing.assert_array_equal(projection.projection, own.tile.projection)
    assert own.tile.patch.any()
    assert own.tile.projection.any()
    assert not patch.projection.any()
    assert not projection.patch.any()
    assert (other.patch_tile, other.projection_tile, other.projection_values) == (None, None, None)


def test_an_example_knows_its_image() -> None:
    own, other = feature_map().bands
    assert (own.image.path, own.label) == ("1.png", None)
    assert own.whole is not None
    assert own.whole.getpixel((0, 0)) == (1, 0, 0)
    assert other.whole is None


def test_a_damaged_tile_is_named_by_its_bin() -> None:
    own = feature_map().bands[0]
    broken = BandExample(*[getattr(own, name) for name in ("bin", "low", "high", "value", "image_id", "row", "col")],
                         own.box, Broken(), (0, 3, 1))  # fmt: skip
    assert isinstance(Broken(), TileSource)
    with pytest.raises(Exception, match=r"nowhere.* \(table band \(layer_id 0, channel 3, bin 1\)"):
        _ = broken.tile
