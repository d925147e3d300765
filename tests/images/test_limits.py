import pytest
from PIL import Image

from backlight.errors import BadInputError, ImageError
from backlight.images.limits import check_resized, check_size, checked_range


@pytest.mark.usefixtures("untyped")
def test_sizes_and_ranges():
    check_size("crop", (1, 2))
    assert checked_range((0, 4095)) == (0.0, 4095.0)
    for wrong in ((0, 1), (1,), (1.5, 2), 3):
        with pytest.raises(BadInputError, match=r"^crop must be \(h, w\) of at least 1 x 1 pixel, not"):
            check_size("crop", wrong)
    for wrong in ((1, 1), (2, 1)):
        with pytest.raises(BadInputError, match="range must have its LOW below its HIGH"):
            checked_range(wrong)
    with pytest.raises(BadInputError, match=r"range must be two numbers \(LOW, HIGH\), got \(0, inf\)"):
        checked_range((0, float("inf")))


def test_a_picture_that_would_become_too_large(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    check_resized(Image.new("L", (1, 1)), (10, 10))
    with pytest.raises(ImageError, match=r"^too narrow: 1 x 9, resized to a short side of 5, has 200 pixels"):
        check_resized(Image.new("L", (9, 1)), (5, 40))
