import io
import logging
import os
import struct
import threading
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import EpsImagePlugin, Image, TiffImagePlugin

from backlight.errors import BadInputError, ImageError
from backlight.images import decode, load_numbers
from backlight.images.quiet import quiet_pillow

pytestmark = pytest.mark.usefixtures("no_warning")
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (3, 5, 3), dtype=np.uint8)


def encoded(image, kind="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


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


def npy(array, **changes):
    """Return a .npy file whose header says something else than the array."""
    stream = io.BytesIO()
    header = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape, **changes}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue() + array.tobytes()


def pickled():
    stream = io.BytesIO()
    np.save(stream, np.array([[Bomb()]], object), allow_pickle=True)
    return stream.getvalue()


class Bomb:
    def __reduce__(self):
        return exec, ("raise SystemExit('unpickled')",)


NPY = npy(np.zeros((4, 4), np.uint16))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (npy(np.zeros((4, 4), np.uint16), shape=(10**6, 10**6)), "too large: 1000000 x 1000000"),
        (npy(np.zeros((4, 4), np.uint16), shape=(8000, 8000)), "announces 128000000 bytes, but 32 follow"),
        (npy(np.zeros((4, 4), np.uint16), shape=(-4, -4)), "no pixels: -4 x -4"),
        (npy(np.zeros((4, 4), np.uint16), descr="|O"), "an array of Python objects is not a picture"),
        (npy(np.zeros((4, 4), np.uint16), descr="<U900000000"), "is not a picture|cannot be read"),
        (pickled(), "an array of Python objects is not a picture"),
        (NPY[:-1], r"announces 32 bytes, but 31 follow"),
        (NPY[:20], "its header cannot be read"),
        (NPY.replace(b"{'descr'", b"((((((((("), "its header cannot be read"),
        (b"\x93NUMPY\x09\x00" + NPY[8:], r"a \.npy file of version 9\.0"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + NPY[10:], "its header cannot be read"),
        (
            b"PK\x03\x04" + bytes(40),
            r"a \.zip or \.npz archive, not an image; save each picture as its own \.npy file",
        ),
    ],
)
def test_a_damaged_array_file(data, message, tmp_path):
    for source in (data, tmp_path / "a.npy"):
        (tmp_path / "a.npy").write_bytes(data)
        with pytest.raises(ImageError, match=message) as caught:
            decode(source)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            npy(np.zeros(4), shape=(10**12,)),
            r"a\.npy' is not a NumPy array \(damaged \.npy: its header announces 8000000000000 bytes, but 32 ",
        ),
        (npy(np.zeros(4), shape=(-1,)), "the shape -1"),
        (pickled(), r"a\.npy' is not a NumPy array \(it holds Python objects, not numbers\)"),
        (b"PK\x03\x04", "its header cannot be read; write it again with numpy.save"),
        (b"", "its header cannot be read"),
    ],
)
def test_a_damaged_file_of_numbers(data, message, tmp_path):
    (tmp_path / "a.npy").write_bytes(data)
    with pytest.raises(BadInputError, match=message):
        load_numbers(tmp_path / "a.npy")


def test_numbers_of_any_shape(tmp_path):
    for values in (np.arange(5), np.asfortranarray(RNG.random((2, 3, 4, 5))), np.float32(3), np.ones((0, 2))):
        np.save(tmp_path / "a.npy", values)
        assert np.array_equal(load_numbers(tmp_path / "a.npy"), values)
    with pytest.raises(BadInputError, match=r"cannot read '.*b\.npy': No such file"):
        load_numbers(tmp_path / "b.npy")


# Warnings


def warning_tiff():
    """Return a TIFF that Pillow warns about: a tag of one value holds two."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[0x0112] = 1
    data = bytearray(encoded(Image.fromarray(PIXELS), "TIFF", tiffinfo=tags))
    entry = struct.pack("<HHL", 0x0112, 3, 1)
    assert data.count(entry) == 1
    at = data.index(entry)
    data[at : at + 8] = struct.pack("<HHL", 0x0112, 3, 2)
    return bytes(data)


def test_pillow_warns_about_this_and_decode_does_not():
    data = warning_tiff()
    with pytest.warns(UserWarning, match="Metadata Warning"):
        Image.open(io.BytesIO(data)).load()
    assert np.array_equal(np.asarray(decode(data)), PIXELS)


def test_what_pillow_logs_about_a_damaged_file_is_not_printed(monkeypatch, capsys):
    data = bytearray(encoded(Image.fromarray(PIXELS), "TIFF"))
    at = data.index(struct.pack("<HHL", 277, 3, 1)) + 8  # samples per pixel
    data[at : at + 2] = struct.pack("<H", 999)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    with pytest.raises(ImageError):
        decode(bytes(data))
    assert capsys.readouterr().err == ""


def test_others_warnings_pass_and_the_filters_are_put_back():
    before = list(warnings.filters)
    with quiet_pillow(), pytest.warns(UserWarning, match="mine"):
        warnings.warn("mine", stacklevel=1)
    inside, leave = threading.Event(), threading.Event()

    def hold():
        with quiet_pillow():
            inside.set()
            leave.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait()
    with quiet_pillow():
        pass
    held = len(warnings.filters)
    leave.set()
    thread.join()
    assert held == len(before) + 1, "the first to leave took the filter from the other"
    assert list(warnings.filters) == before
