"""NumPy arrays, in memory or in a .npy file, as pictures. Nothing is ever unpickled."""

from __future__ import annotations

import math
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backlight.errors import BadInputError, ImageError
from backlight.images.deep import DeepPicture, Picture

NPY_MAGIC = b"\x93NUMPY"

_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_MOST_HEADER_BYTES = 10_000
INTEGER_LIMITS = (0.0, 65535.0)
FLOAT_LIMITS = (0.0, 1.0)


def array_picture(array: NDArray[Any]) -> Picture:
    """Return an array as a picture: uint8 and bool as a Pillow image, all else with its own precision.

    Args:
        array: (h, w), (h, w, 1) or (h, w, 3); of uint8 also (h, w, 2) and (h, w, 4), whose last channel is alpha.

    Raises:
        ImageError: Another shape or kind of number, no pixels, or too many.
    """
    _check(array.shape, array.dtype)
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    # (h, w, 1) -> (h, w), the only form of grey from here on
    plane = array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array
    if plane.dtype == np.uint8:
        return Image.fromarray(np.ascontiguousarray(plane))
    if plane.ndim == 3 and plane.shape[2] != 3:
        raise ImageError(
            f"an array {_times(array.shape)} of {array.dtype}: more than 8 bits are read as 1 (grey) or 3 (RGB) "
            "channels; leave out the others"
        )
    # a copy in the machine's byte order: what the caller does to the array is not seen
    native = np.array(plane, plane.dtype.newbyteorder("="))
    return DeepPicture(native, FLOAT_LIMITS if native.dtype.kind == "f" else INTEGER_LIMITS)


def read_npy(stream: BinaryIO | BytesIO, n_bytes: int) -> NDArray[Any]:
    """Return the array of a .npy file, reading no more than the file holds, whatever its header says.

    Args:
        stream: At the start of the file.
        n_bytes: Size of the file.

    Raises:
        ImageError: A damaged header, objects (which would have to be unpickled), no picture's shape, or bytes that are
            missing.
    """
    shape, is_fortran, dtype = _header(stream)
    _check(shape, dtype)
    return _values(stream, n_bytes, shape, is_fortran, dtype)


def load_numbers(path: Path) -> NDArray[Any]:
    """Return the numbers of a .npy file, of any shape; `numpy.load` trusts the size in the header, whatever it is.

    Raises:
        BadInputError: It cannot be read, is damaged, or holds something other than numbers.
    """
    try:
        with path.open("rb") as stream:
            shape, is_fortran, dtype = _header(stream)
            if dtype.hasobject or dtype.kind not in "biufc":
                raise ImageError(f"it holds {_kind(dtype)}, not numbers")
            return _values(stream, path.stat().st_size, shape, is_fortran, dtype)
    except OSError as error:
        raise BadInputError(f"cannot read {str(path)!r}: {error.strerror}") from error
    except ImageError as error:
        raise BadInputError(f"{str(path)!r} is not a NumPy array ({error})") from error


def _values(
    stream: BinaryIO | BytesIO, n_bytes: int, shape: tuple[int, ...], is_fortran: bool, dtype: np.dtype[Any]
) -> NDArray[Any]:
    if any(side < 0 for side in shape):
        raise ImageError(f"damaged .npy: its header gives the shape {_times(shape)}")
    # Python's whole numbers: NumPy's would overflow for a made-up shape
    wanted = math.prod(shape) * dtype.itemsize
    left = n_bytes - stream.tell()
    if left < wanted:
        raise ImageError(f"damaged .npy: its header announces {wanted} bytes, but {max(left, 0)} follow")
    data = np.frombuffer(stream.read(wanted), dtype)
    return data.reshape(shape, order="F" if is_fortran else "C")


def _header(stream: BinaryIO | BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            return np.lib.format.read_array_header_1_0(stream, _MOST_HEADER_BYTES)
        if version == (2, 0):
            return np.lib.format.read_array_header_2_0(stream, _MOST_HEADER_BYTES)
        raise ImageError(f"a .npy file of version {version[0]}.{version[1]}; write it with numpy.save")
    except ImageError:
        raise
    # The header is Python's text, so a damaged one raises whatever a parser of Python does.
    except (Exception, MemoryError) as error:
        raise ImageError("damaged .npy: its header cannot be read; write it again with numpy.save") from error


def _check(shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Refuse what is not a picture, before a byte of it is read."""
    if dtype.hasobject or dtype.kind not in "biuf":
        raise ImageError(
            f"an array of {_kind(dtype)} is not a picture; give whole numbers or floats (uint8, uint16, float32)"
        )
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in _MODES):
        hint = (
            "numpy.moveaxis(array, 0, -1) puts the channels last"
            if _is_channels_first(shape)
            else "save each picture in a file of its own"
        )
        raise ImageError(
            f"an array of shape {_times(shape)} is not a picture, (h, w) or (h, w, channels); {hint}"
        )
    height, width = shape[:2]
    if height < 1 or width < 1:
        raise ImageError(f"no pixels: {height} x {width}")
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and height * width > limit:
        raise ImageError(
            f"too large: {height} x {width} = {height * width} pixels, the limit is {limit} "
            "(PIL.Image.MAX_IMAGE_PIXELS)"
        )


def _is_channels_first(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and shape[0] in _MODES


def _kind(dtype: np.dtype[Any]) -> str:
    if dtype.hasobject:
        return "Python objects"
    return "fields" if dtype.names else str(dtype)[:40]


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(str(side)[:20] for side in shape[:8]) or "()"
