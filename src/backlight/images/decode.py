"""Image files, bytes and Pillow images turned into upright 8-bit pictures."""

from __future__ import annotations

import re
import stat
import threading
from io import BufferedIOBase, BytesIO
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from backlight.errors import BadInputError, ImageError
from backlight.images.quiet import quiet_pillow

ImageLike: TypeAlias = Path | str | bytes | BinaryIO | BufferedIOBase | Image.Image

_first_use = threading.Lock()
_MODES = {1: "L", 3: "RGB"}
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(source: ImageLike, channels: int = 3) -> Image.Image:
    """Return the picture in `source`: upright, 8 bits a channel, "RGB" or "L".

    Args:
        source: A path (`Path` or `str`), an encoded image (`bytes`, or a binary stream, read to its end), or
            a Pillow image, which is left as it was.
        channels: 3 gives "RGB", 1 gives "L" (ITU-R 601 luma).

    Returns:
        A picture of its own, with no file behind it and no metadata: decoding it again changes nothing.

    Raises:
        ImageError: The source cannot be read as an image; for a path the text begins with it.
        BadInputError: `channels` is neither 1 nor 3.

    Convention:
        Transparent pixels (alpha, or a palette entry or colour declared transparent) lie over white. Of an
        animation the first frame counts. The EXIF (or XMP) orientation is applied; one that cannot be read
        counts as upright. 16-bit grey is divided by 257 and rounded, so that 65535 gives 255; 32-bit integers
        are taken as 16-bit grey and refused outside 0..65535; floats are times 255, rounded half up, and
        refused outside 0..1. 16-bit colour keeps its high byte, as Pillow reads it. Colour profiles are not
        applied. EPS, which would start a program, is refused, and so is a file of more than
        `PIL.Image.MAX_IMAGE_PIXELS` pixels.

    Example:
        >>> decode(Image.new("LA", (4, 2), (0, 0))).getpixel((0, 0))
        (255, 255, 255)
    """
    try:
        return decode_unnamed(source, channels)
    except ImageError as error:
        if isinstance(source, str | Path):
            raise ImageError(f"{str(source)!r}: {error}") from error
        raise


def decode_unnamed(source: ImageLike, channels: int = 3) -> Image.Image:
    """Return what `decode` returns; its `ImageError` holds the reason alone, to be listed beside a path.

    Raises:
        ImageError: The source cannot be read as an image.
        BadInputError: `channels` is neither 1 nor 3.
    """
    if channels not in _MODES:
        raise BadInputError(f"a picture has 1 (grey) or 3 (RGB) channels, not {channels!r}")
    with quiet_pillow():
        try:
            if isinstance(source, Image.Image):
                # Pillow reads pixels and EXIF on first use, and two threads may hold the same image.
                with _first_use:
                    source.load()
                    _orientation(source)
                return _picture(source, _MODES[channels])
            with _open(source) as stream, Image.open(stream) as image:
                _refuse_unread(image)
                return _picture(image, _MODES[channels])
        except (BadInputError, MemoryError):  # an ImageError is a BadInputError
            raise
        except Image.DecompressionBombError as error:
            raise ImageError(_too_large(re.sub(r"\D+", " ", str(error)).split()[0])) from error
        except UnidentifiedImageError as error:
            raise ImageError("not an image in a format that Pillow reads") from error
        # On damaged data Pillow's readers let anything out: struct.error, KeyError, SyntaxError, zlib.error.
        except Exception as error:
            raise ImageError(f"damaged image: {_one_line(error)}") from error


def _open(source: Path | str | bytes | BinaryIO | BufferedIOBase) -> BinaryIO | BytesIO:
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
            f"an image is a path, bytes, a binary stream or a Pillow image, not {type(source).__name__}"
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
    if image.format == "EPS":
        raise ImageError("EPS drawings are not read: they would be run as a program; convert it to PNG")


def _too_large(n_pixels: int | str, sides: str = "") -> str:
    limit = f"{Image.MAX_IMAGE_PIXELS} (PIL.Image.MAX_IMAGE_PIXELS)"
    return f"too large: {sides}{n_pixels} pixels, the limit is {limit}"


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 120 else text[:117] + "..."


def _picture(image: Image.Image, mode: str) -> Image.Image:
    """Return a picture of `mode` in memory, from an image that may still have to be read."""
    if 0 in image.size:
        raise ImageError(f"no pixels: {image.height} x {image.width}")
    image.load()
    turn = _UPRIGHT.get(_orientation(image))
    if image.mode == "F":
        flat = _from_floats(image)
    elif image.mode.startswith("I"):
        flat = _from_integers(image)
    elif image.has_transparency_data:
        flat = _over_white(image)
    else:
        flat = image
    picture = flat.convert(mode) if turn is None else flat.convert(mode).transpose(turn)
    # An orientation left in the metadata would turn the picture once more when it is next decoded.
    picture.info = {}
    return picture


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


def _from_integers(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise ImageError(
            f"integers from {low} to {high}: grey must lie in 0..65535; rescale it to 8 or 16 bits"
        )
    return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))


def _from_floats(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 1):  # written so that NaN is refused too
        raise ImageError(f"floats from {low:g} to {high:g}: grey must lie in 0..1; rescale it")
    return Image.fromarray((values * 255 + 0.5).astype(np.uint8))
