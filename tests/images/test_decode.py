import io
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backlight.errors import BadInputError
from backlight.images import DeepPicture, decode
from images.pictures import PIXELS, encoded

pytestmark = pytest.mark.usefixtures("no_warning")
RNG = np.random.default_rng(0)


def only_pixel(source, channels=3):
    picture = decode(source, channels).convert("L" if channels == 1 else "RGB")
    colours = picture.getcolors()
    assert len(colours) == 1, f"one colour expected, got {colours}"
    return colours[0][1]


# What comes in


@pytest.mark.parametrize("kind", ["path", "str", "bytes", "stream", "image"])
def test_every_kind_of_source_gives_the_same_picture(tmp_path, kind):
    data = encoded(Image.fromarray(PIXELS))
    path = tmp_path / "a.png"
    path.write_bytes(data)
    sources = {
        "path": path,
        "str": str(path),
        "bytes": data,
        "stream": io.BytesIO(data),
        "image": Image.open(io.BytesIO(data)),
    }
    picture = decode(sources[kind])
    assert picture.mode == "RGB"
    assert np.array_equal(np.asarray(picture), PIXELS)


def test_a_pillow_image_is_copied_and_left_as_it_was():
    image = Image.fromarray(PIXELS)
    image.info["exif"] = b"x"
    decode(image).putpixel((0, 0), (1, 2, 3))
    assert np.array_equal(np.asarray(image), PIXELS)
    assert image.info == {"exif": b"x"}


def test_threads_that_hold_the_same_unread_image_read_it_once():
    image = Image.open(io.BytesIO(encoded(Image.fromarray(PIXELS))))
    reading, read = [], image.load

    def slowly():
        if not image.info.get("read"):
            reading.append(1)
            time.sleep(0.05)
            image.info["read"] = True
        return read()

    image.load = slowly
    with ThreadPoolExecutor(4) as pool:
        pictures = list(pool.map(decode, [image] * 4))
    assert len(reading) == 1
    assert all(np.array_equal(np.asarray(picture), PIXELS) for picture in pictures)


def test_no_file_stays_open(tmp_path):
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        pytest.skip("no /proc to count open files in")
    path = tmp_path / "a.png"
    path.write_bytes(encoded(Image.fromarray(PIXELS)))
    before = len(list(descriptors.iterdir()))
    pictures = [decode(path) for _ in range(5)]
    assert len(list(descriptors.iterdir())) == before
    assert all(not hasattr(picture, "fp") for picture in pictures)


@pytest.mark.usefixtures("untyped")
def test_something_else_is_refused():
    with pytest.raises(
        BadInputError, match="a path, bytes, a binary stream, an array, a tensor or a Pillow image, not dict"
    ):
        decode({})


def test_two_or_four_channels_are_refused():
    with pytest.raises(BadInputError, match=r"1 \(grey\) or 3 \(RGB\) channels, not 4"):
        decode(Image.fromarray(PIXELS), channels=4)


# From the EXIF standard's words "the 0th row is the visual right-hand side, the 0th column the visual top"
# and so on: (row, col) in the file of h x w -> (row, col) in the upright picture.
UPRIGHT = {
    1: lambda r, c, h, w: (r, c),
    2: lambda r, c, h, w: (r, w - 1 - c),
    3: lambda r, c, h, w: (h - 1 - r, w - 1 - c),
    4: lambda r, c, h, w: (h - 1 - r, c),
    5: lambda r, c, h, w: (c, r),
    6: lambda r, c, h, w: (c, h - 1 - r),
    7: lambda r, c, h, w: (w - 1 - c, h - 1 - r),
    8: lambda r, c, h, w: (w - 1 - c, r),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"})],
)
def test_orientation_puts_each_pixel_in_its_place(orientation, kind, options):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = decode(encoded(Image.fromarray(PIXELS), kind, exif=exif, **options))
    h, w, _ = PIXELS.shape
    upright = np.zeros((h, w, 3) if orientation <= 4 else (w, h, 3), dtype=np.uint8)
    for r in range(h):
        for c in range(w):
            upright[UPRIGHT[orientation](r, c, h, w)] = PIXELS[r, c]
    assert np.array_equal(np.asarray(picture), upright)
    assert np.array_equal(np.asarray(decode(picture)), upright), "a second decoding turned the picture again"


def test_orientation_of_a_jpeg():
    """A photograph of a phone held upright: 6 means that the left of the file is the top of the scene."""
    stored = Image.new("RGB", (32, 16), "blue")
    stored.paste("red", (0, 0, 16, 16))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = decode(encoded(stored, "JPEG", exif=exif, quality=95))
    assert (picture.height, picture.width) == (32, 16)
    assert picture.getpixel((8, 4))[0] > 200
    assert picture.getpixel((8, 28))[2] > 200


def test_damaged_exif_does_not_lose_the_picture():
    data = encoded(Image.fromarray(PIXELS), exif=b"Exif\x00\x00MM\x00\x2a\x00\x00\xff\xff garbage")
    assert np.array_equal(np.asarray(decode(data)), PIXELS)


# Modes


def test_cmyk_jpeg_becomes_rgb():
    red, green, blue = only_pixel(encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=100))
    assert red > 240
    assert green < 15
    assert blue < 15


@pytest.mark.parametrize(
    ("mode", "colour", "rgb"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 77, (77, 77, 77)),
        ("YCbCr", (76, 84, 255), (254, 0, 0)),
        ("RGBX", (10, 20, 30, 0), (10, 20, 30)),
        ("HSV", (0, 255, 255), (255, 0, 0)),
    ],
)
def test_other_modes(mode, colour, rgb):
    assert only_pixel(Image.new(mode, (4, 4), colour)) == rgb


def test_lab_goes_through_its_own_colour_space():
    assert max(abs(value - 255) for value in only_pixel(Image.new("LAB", (4, 4), (255, 128, 128)))) <= 1


@pytest.mark.parametrize("level", [0, 1, 128, 129, 255, 256, 4095, 32768, 65534, 65535])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "big-endian TIFF", "PGM", "I"])
def test_16_bit_grey_is_scaled_not_clipped(kind, level):
    values = np.full((2, 3), level, dtype=np.uint16)
    if kind == "PGM":
        source = b"P5 3 2 65535\n" + values.astype(">u2").tobytes()
    elif kind == "I":
        source = Image.fromarray(values.astype(np.int32))
    elif kind == "big-endian TIFF":
        source = encoded(Image.fromarray(values.astype(">u2")), "TIFF")
    else:
        source = encoded(Image.fromarray(values), kind)
    expected = round(level * 255 / 65535)
    assert only_pixel(source, channels=1) == expected
    assert only_pixel(source) == (expected,) * 3


@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "npy", "array"])
def test_more_than_8_bits_come_untouched_and_upright(dtype, kind):
    values = RNG.integers(0, 4096, (3, 5)).astype(dtype)
    if kind == "PNG" and dtype != "uint16":
        pytest.skip("PNG has 16 bits at most")
    exif = Image.Exif()
    exif[0x0112] = 6
    if kind == "npy":
        stream = io.BytesIO()
        np.save(stream, values)
        source = stream.getvalue()
    else:
        source = values if kind == "array" else encoded(Image.fromarray(values), kind, exif=exif)
    picture = decode(source)
    assert isinstance(picture, DeepPicture)
    assert np.array_equal(picture.values, values if kind in ("npy", "array") else np.rot90(values, -1))
    assert decode(picture).values is picture.values


def test_unsigned_32_bits_of_a_tiff_are_not_taken_for_negative():
    data = bytearray(encoded(Image.fromarray(np.array([[7, -1]], np.int32)), "TIFF"))
    sample_format = struct.pack("<HHLHH", 339, 3, 1, 2, 0)
    at = data.index(sample_format)
    data[at : at + 12] = struct.pack("<HHLHH", 339, 3, 1, 1, 0)
    assert decode(bytes(data)).values.tolist() == [[7, 2**32 - 1]]


def transparent_palette(transparency):
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putdata([0, 1])
    return encoded(image, transparency=transparency)


@pytest.mark.parametrize(
    ("source", "pixels"),
    [
        (Image.new("RGBA", (1, 1), (0, 0, 0, 0)), [(255, 255, 255)]),
        (Image.new("RGBA", (1, 1), (200, 0, 0, 51)), [(244, 204, 204)]),
        (Image.new("LA", (1, 1), (0, 51)), [(204, 204, 204)]),
        (Image.new("La", (1, 1), (0, 51)), [(204, 204, 204)]),
        (Image.new("RGBa", (1, 1), (0, 0, 0, 51)), [(204, 204, 204)]),
        (Image.new("PA", (1, 1), (0, 0)), [(255, 255, 255)]),
        (transparent_palette(0), [(255, 255, 255), (0, 0, 255)]),
        (transparent_palette(bytes([255, 51])), [(255, 0, 0), (204, 204, 255)]),
        (encoded(Image.new("RGB", (1, 1), (9, 9, 9)), transparency=(9, 9, 9)), [(255, 255, 255)]),
        (encoded(Image.new("L", (1, 1), 9), transparency=9), [(255, 255, 255)]),
        (encoded(Image.new("RGBA", (1, 1), (0, 0, 0, 0)), "WEBP", lossless=True), [(255, 255, 255)]),
    ],
    ids=[
        "RGBA", "RGBA-half", "LA", "La", "RGBa", "PA", "palette-index", "palette-bytes",
        "RGB-key", "L-key", "webp",
    ],
)  # fmt: skip
def test_transparent_lies_over_white(source, pixels):
    picture = decode(source)
    assert [picture.getpixel((c, 0)) for c in range(picture.width)] == pixels
    grey = decode(source, 1)
    assert grey.getpixel((0, 0)) == Image.new("RGB", (1, 1), pixels[0]).convert("L").getpixel((0, 0))


def test_grey_goes_through_rgb_unchanged():
    grey = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    assert np.array_equal(np.asarray(decode(decode(grey, 3), 1)), np.asarray(grey))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_frame_counts(kind):
    first, second = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(first, kind, save_all=True, append_images=[second], **options)
    assert only_pixel(data) == (255, 0, 0)
