"""NumPy arrays, in memory or in a .npy file: what is a picture, and damage that is found before it is read."""

import io

import numpy as np
import pytest

from backlight.errors import BadInputError, ImageError
from backlight.images import decode, load_numbers

pytestmark = pytest.mark.usefixtures("no_warning")
RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("array", "mode", "first"),
    [
        (np.full((2, 3), 7, np.uint8), "RGB", (7, 7, 7)),
        (np.full((2, 3, 1), 7, np.uint8), "RGB", (7, 7, 7)),
        (np.full((2, 3), True), "RGB", (255, 255, 255)),
        (np.full((2, 3, 3), (1, 2, 3), np.uint8), "RGB", (1, 2, 3)),
        (np.full((2, 3, 4), (0, 0, 0, 51), np.uint8), "RGB", (204, 204, 204)),
        (np.full((2, 3, 2), (0, 51), np.uint8), "RGB", (204, 204, 204)),
        (np.full((2, 3, 3), (0, 65535, 257), ">u2"), "RGB", (0, 255, 1)),
        (np.full((2, 3, 1), 0.5, np.float16), "RGB", (128, 128, 128)),
    ],
)
def test_arrays(array, mode, first):
    picture = decode(array)
    assert picture.size == (3, 2)
    assert picture.convert(mode).getpixel((0, 0)) == first


def test_an_array_is_copied():
    for array in (np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.uint16)):
        picture = decode(array)
        array[:] = 99
        assert np.asarray(picture.convert("L")).max() == 0


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([[object()]]), "an array of Python objects is not a picture"),
        (np.zeros((2, 2), complex), "an array of complex128 is not a picture"),
        (np.array([["a"]]), "an array of <U1 is not a picture"),
        (np.zeros((2, 2), [("a", "i4")]), "an array of fields is not a picture"),
        (np.zeros(5), r"of shape 5 is not a picture, \(h, w\) or \(h, w, channels\)"),
        (np.zeros((3, 8, 8)), r"of shape 3x8x8 is not a picture.*numpy\.moveaxis\(array, 0, -1\)"),
        (np.zeros((9, 8, 8, 3)), "of shape 9x8x8x3 is not a picture.*save each picture in a file of its own"),
        (np.zeros((8, 8, 4)), "more than 8 bits are read as 1 .* or 3 .* channels"),
        (np.zeros((0, 8)), "no pixels: 0 x 8"),
        (np.broadcast_to(np.uint8(0), (20_000, 20_000)), "too large: 20000 x 20000"),
    ],
)
def test_arrays_that_are_no_picture(array, message):
    with pytest.raises(ImageError, match=message):
        decode(array)


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
