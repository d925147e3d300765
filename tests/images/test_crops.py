"""A source of crops: the image and its four corners, each under a name of its own."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from backlight.errors import BadInputError, ImageError
from backlight.images import CropSource, SequenceSource, open_images


def numbered() -> Image.Image:
    """Return an 8 x 6 picture whose red is the row and whose green is the column."""
    rows, cols = np.mgrid[:6, :8]
    return Image.fromarray(np.stack([rows, cols, 0 * rows], 2).astype(np.uint8))


def test_an_image_gives_itself_and_its_corners_where_their_names_say() -> None:
    source = CropSource(SequenceSource([Image.new("RGB", (4, 4)), numbered()]), share=0.5)
    assert len(source) == 10
    views = {source.records[i].path.partition("#")[2]: np.asarray(source.load(i)) for i in range(5, 10)}
    np.testing.assert_array_equal(views[""], np.asarray(numbered()))
    corners = {"top-left": (0, 0), "top-right": (0, 4), "bottom-left": (3, 0), "bottom-right": (3, 4)}
    for name, (top, left) in corners.items():
        assert views[name].shape == (3, 4, 3)
        assert tuple(views[name][0, 0, :2]) == (top, left)


def test_ids_are_positions_and_labels_go_on() -> None:
    source = CropSource(SequenceSource([numbered(), numbered()], labels=["a", "b"]))
    assert [record.id for record in source.records] == list(range(10))
    assert [record.label for record in source.records] == ["a"] * 5 + ["b"] * 5


def test_the_fingerprint_tells_shares_apart() -> None:
    inner = SequenceSource([numbered()])
    assert CropSource(inner, 0.5).fingerprint() != CropSource(inner, 0.6).fingerprint()
    assert CropSource(inner, 0.5).fingerprint() == CropSource(inner, 0.5).fingerprint()


def test_bad_shares_ids_and_images_are_refused(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BadInputError, match="must be above 0 and below 1, got 1"):
        CropSource(SequenceSource([numbered()]), share=1.0)
    with pytest.raises(BadInputError, match="image id 5 is out of range"):
        CropSource(SequenceSource([numbered()])).load(5)
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(ImageError):
        CropSource(open_images(tmp_path)).load(3)
