import io
import os
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import EpsImagePlugin, Image

from backlight.errors import ImageError
from backlight.images import decode
from images.pictures import PIXELS, encoded

pytestmark = pytest.mark.usefixtures("no_warning")
RNG = np.random.default_rng(0)


def test_above_pillows_limit():
    """Headers alone are enough: 100 million pixels make Pillow warn, 400 million make it raise."""
    with pytest.raises(
        ImageError, match=r"too large: 10000 x 10000 = 100000000 pixels, the limit is 89478485"
    ):
        decode(b"P6 10000 10000 255\n")
    with pytest.raises(ImageError, match=r"too large: 400000000 pixels, the limit is 89478485"):
        decode(b"P6 20000 20000 255\n")


def test_the_limit_is_pillows_own_and_can_be_lifted(monkeypatch):
    data = encoded(Image.new("RGB", (11, 10)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 109)
    with pytest.raises(ImageError, match="10 x 11 = 110 pixels, the limit is 109"):
        decode(data)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 110)
    assert decode(data).size == (11, 10)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert decode(data).size == (11, 10)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM"])
def test_truncated(kind):
    data = encoded(Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)), kind)
    with pytest.raises(ImageError, match="damaged image: "):
        decode(data[: len(data) // 2])


def test_a_drawing_that_pillow_has_opened_starts_no_program_either(monkeypatch):
    monkeypatch.setattr(
        EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("Ghostscript was started")
    )
    drawing = Image.open(io.BytesIO(encoded(Image.new("RGB", (8, 8)), "EPS")))
    with pytest.raises(ImageError, match="EPS drawings are not read"):
        decode(drawing)


def test_a_truncated_pillow_image_too(tmp_path):
    data = encoded(Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)), "PNG")
    with pytest.raises(ImageError, match="damaged image: "):
        decode(Image.open(io.BytesIO(data[: len(data) // 2])))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.write_text("not a picture\n"), "not an image in a format that Pillow reads"),
        (lambda path: path.write_bytes(b""), "the file is empty"),
        (lambda path: path.mkdir(), "a folder, not an image file"),
        (lambda path: None, "no such file"),
        (lambda path: os.mkfifo(path), "not a regular file"),
        (lambda path: Image.new("RGB", (8, 8)).save(path, "EPS"), "EPS drawings are not read"),
        (lambda path: path.symlink_to(path.name), "cannot be opened: Too many levels of symbolic links"),
    ],
    ids=["text", "empty", "folder", "missing", "fifo", "eps", "loop"],
)
def test_what_is_no_image_file(tmp_path, make, reason):
    path = tmp_path / "a.jpg"
    make(path)
    with pytest.raises(ImageError, match=reason) as caught:
        decode(path)
    assert str(caught.value).startswith(f"'{path}': ")
    assert "\n" not in str(caught.value)


def test_unreadable_names_and_nothing_at_all():
    with pytest.raises(ImageError, match="null byte"):
        decode("a\0.jpg")
    with pytest.raises(ImageError, match=r"^the file is empty$"):
        decode(b"")
    with pytest.raises(ImageError, match=r"^the file is empty$"):
        decode(io.BytesIO())
    with pytest.raises(ImageError, match="no pixels: 5 x 0"):
        decode(Image.new("RGB", (0, 5)))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_without_permission(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"x")
    path.chmod(0)
    with pytest.raises(ImageError, match="cannot be opened: Permission denied"):
        decode(path)


SEEDS = [
    encoded(Image.fromarray(RNG.integers(0, 256, (9, 7, 3), dtype=np.uint8)).convert(mode), kind)
    for kind, mode in [
        ("PNG", "RGB"), ("PNG", "P"), ("JPEG", "RGB"), ("GIF", "P"), ("TIFF", "RGB"), ("BMP", "P"),
        ("WEBP", "RGB"), ("ICO", "RGBA"), ("PPM", "L"), ("TGA", "RGB"), ("PCX", "L"),
    ]
]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=8),
    st.integers(0, 4000),
)
def test_damaged_bytes_give_a_picture_or_an_image_error(data, changes, cut):
    damaged = bytearray(data)
    for position, value in changes:
        damaged[position % len(damaged)] = value
    try:
        picture = decode(bytes(damaged[: len(damaged) - cut % 40]))
    except ImageError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 250
    else:
        assert picture.mode == "RGB"


def test_rows_that_a_tiff_does_not_hold_are_not_made_up():
    data = bytearray(encoded(Image.fromarray(PIXELS), "TIFF"))
    height = struct.pack("<HHL", 257, 4, 1)
    at = data.index(height) + len(height)
    data[at : at + 4] = struct.pack("<L", 1_000_000)
    with pytest.raises(ImageError, match=r"damaged image: .* of 1000000 x 5 = 5000000 pixels are stored"):
        decode(bytes(data))


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "I;16", "F"])
def test_a_whole_tiff_is_whole(mode, compression):
    image = Image.new(mode, (300, 200)) if mode == "I;16" else Image.new("L", (300, 200)).convert(mode)
    assert decode(encoded(image, "TIFF", compression=compression)).size == (300, 200)
