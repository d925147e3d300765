"""Image files, bytes, arrays and Pillow images turned into upright pictures."""

from __future__ import annotations

import os
import re
import stat
import threading
from io import BufferedIOBase, BytesIO
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from backlight.errors import BadInputError, ImageError
from backlight.images.arrays import FLOAT_LIMITS, INTEGER_LIMITS, NPY_MAGIC, array_picture, read_npy
from backlight.images.deep import DeepPicture, Picture
from backlight.images.dicom import N_START, dicom_picture, is_dicom
from backlight.images.held import TensorLike, is_tensor, tensor_array
from backlight.images.quiet import quiet_pillow
from backlight.text import one_line

ImageLike: TypeAlias = (
    Path | str | bytes | BinaryIO | BufferedIOBase | Image.Image | DeepPicture | NDArray[Any] | TensorLike
)

CUT = "backlight: 16-bit colour"
"""In a picture's `info`: that the file had 16 bits a channel, of which Pillow reads 8."""

_first_use = threading.Lock()
_MODES = {1: "L", 3: "RGB"}
_ZIP_MAGIC = b"PK\x03\x04"
_CUT_MODE = re.compile(r"(L|LA|RGB|RGBA|RGBX|CMYK);16[BLN]")
# What undoes each orientation of EXIF; 1 is upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(source: ImageLike, channels: int = 3) -> Picture:
    """Return the picture in `source`, upright: 8 bits a channel as a Pillow image, more as a `DeepPicture`.

    Args:
        source: A path (`Path` or `str`), an encoded image (`bytes`, or a binary stream, read to its end), a Pillow
            image, an array (h, w) or (h, w, c), or a tensor (c, h, w) of uint8 or of floats in 0..1, which are left as
            they were.
        channels: 3 gives "RGB", 1 gives "L" (ITU-R 601 luma).

    Returns:
        A picture of its own, with no file behind it and no metadata: decoding it again changes nothing. 16-bit grey,
        integers and floats (PNG, TIFF, PGM, .npy, arrays of anything but uint8 and bool) come with their values
        untouched, as a `DeepPicture`; `.convert("RGB")` of any picture gives 8 bits to look at.

    Raises:
        ImageError: The source cannot be read as an image; for a path the text begins with it.
        BadInputError: `channels` is neither 1 nor 3, or `source` is something else.

    Convention:
        Transparent pixels (alpha, or a palette entry or colour declared transparent) lie over white; of more than 8
        bits, transparency is ignored. Of an animation the first frame is read. The EXIF (or XMP) orientation is
        applied; one that cannot be read counts as upright. Where no range is given, integers are black at 0 and white
        at 65535, floats at 0 and 1, and DICOM files (which need `backlight[dicom]`) at the ends of their own window.
        16-bit colour keeps its high byte, as Pillow reads it, and a warning says so when it becomes a tensor; as an
        array it keeps all. Colour profiles are not applied. Arrays of objects are never unpickled. EPS, which would
        start a program, is refused, and so is a picture of more than `PIL.Image.MAX_IMAGE_PIXELS` pixels.

    Example:
        >>> decode(Image.new("LA", (4, 2), (0, 0))).convert("RGB").getpixel((0, 0))
        (255, 255, 255)
        >>> decode(np.array([[0, 4095]], np.uint16)).values
        array([[   0, 4095]], dtype=uint16)
    """
    try:
        return decode_unnamed(source, channels)
    except ImageError as error:
        if isinstance(source, str | Path):
            raise ImageError(f"{str(source)!r}: {error}") from error
        raise


def decode_unnamed(source: ImageLike, channels: int = 3) -> Picture:
    """Return what `decode` returns; its `ImageError` holds the reason alone, to be listed beside a path.

    Raises:
        ImageError: The source cannot be read as an image.
        BadInputError: `channels` is neither 1 nor 3.
    """
    if channels not in _MODES:
        raise BadInputError(f"a picture has 1 (grey) or 3 (RGB) channels, not {channels!r}")
    with quiet_pillow():
        try:
            return _decoded(source, channels)
        except (BadInputError, MemoryError):  # an ImageError is a BadInputError
            raise
        except Image.DecompressionBombError as error:
            # the first number of Pillow's message is that of the pixels
            raise ImageError(_too_large(re.sub(r"\D+", " ", str(error)).split()[0])) from error
        except UnidentifiedImageError as error:
            raise ImageError("not an image in a format that Pillow reads") from error
        # On damaged data Pillow's readers let anything out: struct.error, KeyError, SyntaxError, zlib.error.
        except Exception as error:
            raise ImageError(f"damaged image: {one_line(error, 120)}") from error


def _decoded(source: ImageLike, channels: int) -> Picture:
    if isinstance(source, DeepPicture):
        return source.with_channels(channels)
    if isinstance(source, np.ndarray):
        return _flat(array_picture(source), channels)
    if is_tensor(source):
        return _flat(array_picture(tensor_array(source)), channels)
    if isinstance(source, Image.Image):
        # Pillow reads pixels and EXIF on first use, and two threads may hold the same image.
        with _first_use:
            if getattr(source, "tile", None):
                _refuse_unread(source)
            source.load()
            _orientation(source)
        return _picture(source, channels)
    with _open(source) as stream:
        start = stream.read(N_START)
        stream.seek(0)
        if is_dicom(start):
            return _flat(dicom_picture(stream), channels)
        if start.startswith(NPY_MAGIC):
            return _flat(array_picture(read_npy(stream, _n_bytes(stream))), channels)
        if start.startswith(_ZIP_MAGIC):
            raise ImageError("a .zip or .npz archive, not an image; save each picture as its own .npy file")
        with Image.open(stream) as image:
            _refuse_unread(image)
            return _picture(image, channels)


def _flat(picture: Picture, channels: int) -> Picture:
    """Return an array's picture as one that was read: it is upright already."""
    return (
        picture.with_channels(channels) if isinstance(picture, DeepPicture) else _picture(picture, channels)
    )


def _n_bytes(stream: BinaryIO | BytesIO) -> int:
    return stream.getbuffer().nbytes if isinstance(stream, BytesIO) else os.fstat(stream.fileno()).st_size


def _open(source: Any) -> BinaryIO | BytesIO:
    """Return a binary stream over the encoded image, or say in an `ImageError` why there is none."""
    if isinstance(source, str | Path):
        try:
            status = Path(source).stat()
            if stat.S_ISDIR(status.st_mode):
                raise ImageError("a folder, not an image file")
            if not stat.S_ISREG(status.st_mode):
                raise ImageError("not a regular file")
            if status.st_size == 0:
                raise ImageError("the file is empty")
            return Path(source).open("rb")
        except FileNotFoundError as error:
            raise ImageError("no such file") from error
        except OSError as error:
            raise ImageError(f"cannot be opened: {error.strerror}") from error
    if not isinstance(source, bytes) and not hasattr(source, "read"):
        raise BadInputError(
            "an image is a path, bytes, a binary stream, an array, a tensor or a Pillow image, not "
            f"{type(source).__name__}"
        )
    data = source if isinstance(source, bytes) else source.read()
    if not data:
        raise ImageError("the file is empty")
    return BytesIO(data)


def _refuse_unread(image: Image.Image) -> None:
    """Refuse, before any pixel is decoded, an image that is too large or that a program would draw."""
    height, width = image.height, image.width
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and height * width > limit:
        raise ImageError(_too_large(height * width, f"{height} x {width} = "))
    # A TIFF's height may be damaged and its rows not: Pillow would make up millions of black ones.
    # the second entry of a Pillow tile is its (left, top, right, bottom)
    parts = [tile[1] for tile in getattr(image, "tile", ())] if image.format == "TIFF" else []
    n_stored = sum((right - left) * (bottom - top) for left, top, right, bottom in parts)
    if parts and n_stored < height * width:
        raise ImageError(
            f"damaged image: {n_stored} of {height} x {width} = {height * width} pixels are stored"
        )
    if image.format == "EPS":
        raise ImageError("EPS drawings are not read: they would be run as a program; convert it to PNG")


def _too_large(n_pixels: int | str, sides: str = "") -> str:
    limit = f"{Image.MAX_IMAGE_PIXELS} (PIL.Image.MAX_IMAGE_PIXELS)"
    return f"too large: {sides}{n_pixels} pixels, the limit is {limit}"


def _picture(image: Image.Image, channels: int) -> Picture:
    """Return a picture in memory, from an image that may still have to be read."""
    if 0 in image.size:
        raise ImageError(f"no pixels: {image.height} x {image.width}")
    is_cut = _is_cut(image)
    is_unsigned = _is_unsigned(image)
    image.load()
    turn = _UPRIGHT.get(_orientation(image))
    if image.mode == "F" or image.mode.startswith("I"):
        return _deep(image if turn is None else image.transpose(turn), is_unsigned)
    flat = _over_white(image) if image.has_transparency_data else image
    picture = flat.convert(_MODES[channels])
    picture = picture if turn is None else picture.transpose(turn)
    # An orientation left in the metadata would turn the picture once more when it is next decoded.
    picture.info = {CUT: True} if is_cut else {}
    return picture


def _deep(image: Image.Image, is_unsigned: bool) -> DeepPicture:
    values = np.array(image)  # a copy: the image may be the caller's own
    if is_unsigned and values.dtype == np.int32:
        values = values.view(np.uint32)  # the same bits: from 2³¹ up they were read as negative
    return DeepPicture(values, FLOAT_LIMITS if image.mode == "F" else INTEGER_LIMITS)


def _is_cut(image: Image.Image) -> bool:
    """Return whether the file has 16 bits a channel and Pillow reads 8 of them."""
    if image.mode == "F" or image.mode.startswith("I"):
        return False
    return CUT in image.info or any(map(_has_cut_mode, getattr(image, "tile", ())))


def _has_cut_mode(tile: Any) -> bool:
    """Return whether Pillow's note of how pixels are stored means 16-bit colour: a raw mode, or a maximum (PPM)."""
    codec, arguments = tile[0], tile[3]  # of (codec, extents, offset, arguments)
    mode, *rest = (arguments,) if isinstance(arguments, str) else (arguments or ("",))
    is_ppm = codec == "ppm" and bool(rest) and isinstance(rest[0], int) and rest[0] > 255
    return is_ppm or (isinstance(mode, str) and _CUT_MODE.fullmatch(mode) is not None)


def _is_unsigned(image: Image.Image) -> bool:
    """Return whether a TIFF holds unsigned 32-bit integers, which Pillow gives as signed ones."""
    tags: Any = getattr(image, "tag_v2", {})
    # tag 258: bits per sample; 339: sample format, of which 1 is unsigned, and meant where the tag is missing
    return image.mode == "I" and tags.get(258) == (32,) and tags.get(339, (1,)) == (1,)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    # A damaged EXIF block can raise anything, and the pixels are good without it.
    except Exception:
        return 1


def _over_white(image: Image.Image) -> Image.Image:
    # Pillow unmultiplies "La" only into "LA".
    rgba = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(rgba)
    return white.convert("RGB")
