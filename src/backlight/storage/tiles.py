"""Tiles: what part of an image is kept for a hit, and how its patch and its projection are stored.

A patch is a lossy WebP. A projection is a lossless WebP of 8-bit codes, from which the values can be read back:
code 128 is zero and r = s · sign(code - 128) · ((code - 128) / 127)², s being the scale kept beside it. The square
gives small values the finer steps (`decode_projection` states the error).

A whole picture is stored like a patch. A map of activations is 8-bit codes relative to its own maximum, packed by zlib.

A file may come from anybody, so bytes are read as WebP and as nothing else (Pillow would start Ghostscript for
others), and their size is read from the header and compared with the tile's before memory is taken for it.
"""

from __future__ import annotations

import io
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backlight.geometry import Box, ReceptiveField

PATCH_QUALITY = 90
_LOSSLESS_EFFORT = {"lossless": True, "quality": 25, "method": 0, "exact": True}


def tile_box(field: ReceptiveField | None, row: int | None, col: int | None, size: tuple[int, int]) -> Box:
    """Return the box of a unit's tile, which may reach outside the image.

    Args:
        field: The receptive field of the unit's layer; None for the whole image.
        row: The unit's row; None for a fully connected unit.
        col: The unit's column.
        size: Height and width of the preprocessed image.
    """
    if field is None or row is None or col is None:
        return Box(0, 0, *size)
    return field.box(row, col)


def encode_patch(pixels: NDArray[np.uint8]) -> bytes:
    """Return a patch (h, w, 3) or (h, w) as WebP bytes."""
    return _webp(Image.fromarray(pixels).convert("RGB"), quality=PATCH_QUALITY, method=2)


def decode_picture(data: bytes, size: tuple[int, int] | None = None) -> Image.Image:
    """Return the RGB picture of WebP bytes.

    Args:
        data: The bytes.
        size: The height and width that it must have; None for any.

    Raises:
        ValueError: The bytes are not WebP, or of another size.
        OSError: They are cut off or damaged.
    """
    found = webp_size(data)
    if size is not None and found != size:
        raise ValueError(f"a tile of {size[0]} x {size[1]} pixels is expected, got {found[0]} x {found[1]}")
    with Image.open(io.BytesIO(data), formats=["WEBP"]) as image:
        return image.convert("RGB")


def webp_size(data: bytes) -> tuple[int, int]:
    """Return the height and width in the header of WebP bytes of one opaque picture, lossy or lossless.

    Raises:
        ValueError: The bytes do not begin so.

    *Source*: RFC 9649 (WebP), RFC 6386 (VP8), sections on the frame headers.
    """
    if len(data) >= 30 and data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        # Of RIFF the header takes 12 bytes, then name and size of the chunk 8: the frame begins at byte 20, and its
        # start code after a tag of 3 bytes.
        # Lossy: after the start code of the frame 14 bits each of width and height, then 2 bits of scale.
        if data[12:16] == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
            width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (26, 28))
            return height, width
        if data[12:16] == b"VP8L" and data[20] == 0x2F:
            # 14 bits each, one less than the size
            bits = int.from_bytes(data[21:25], "little")
            return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    raise ValueError("a tile is a WebP picture, got something else")


def encode_projection(values: NDArray[np.float32]) -> tuple[bytes, float]:
    """Return a projection (h, w, c), c = 1 or 3, as WebP bytes and its scale, the largest magnitude."""
    scale = float(np.abs(values).max(initial=0.0))
    # Magnitudes relative to the largest, 0 to 1; their square roots, with the sign, become codes 1 to 255.
    relative = values / scale if scale else np.zeros_like(values)
    codes = np.rint(127 * np.sign(relative) * np.sqrt(np.abs(relative))) + 128
    # One channel is stored as three equal ones: WebP has no grey pictures.
    rgb = np.broadcast_to(codes.astype(np.uint8), (*values.shape[:2], 3))
    return _webp(Image.fromarray(np.ascontiguousarray(rgb)), **_LOSSLESS_EFFORT), scale


def decode_projection(
    data: bytes, scale: float, channels: int = 3, size: tuple[int, int] | None = None
) -> NDArray[np.float32]:
    """Return the projection (h, w, c) that `encode_projection` kept.

    Args:
        data: Its WebP bytes.
        scale: Its scale.
        channels: Its channels, 1 or 3.
        size: The height and width that it must have; None for any.

    Raises:
        ValueError: As for `decode_picture`.
        OSError: As for `decode_picture`.

    *Convention*: an entry r comes back within scale/127 · (sqrt(|r|/scale) + 1/508), half a code.
    """
    codes = np.asarray(decode_picture(data, size))[..., :channels]
    # worked out for the 256 codes, then looked up for the pixels
    steps = np.arange(256, dtype=np.float32) - 128
    values: NDArray[np.float32] = np.asarray(scale * np.sign(steps) * (steps / 127) ** 2, np.float32)[codes]
    return values


def encode_activation(codes: NDArray[np.uint8]) -> bytes:
    """Return a map of activations (h, w), as codes from 0 to 255 of its maximum, as bytes."""
    return zlib.compress(np.ascontiguousarray(codes).tobytes())


def decode_activation(data: bytes, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the map of activations (h, w) that `encode_activation` kept.

    Args:
        data: The bytes.
        size: Its height and width.

    Raises:
        ValueError: The bytes are of something else, or of another size.

    Example:
        >>> decode_activation(encode_activation(np.array([[0, 255, 10]], np.uint8)), (1, 3))
        array([[  0, 255,  10]], dtype=uint8)
    """
    # No more is unpacked than the map needs, and one byte to see whether there is more.
    unpacking, n = zlib.decompressobj(), size[0] * size[1]
    try:
        codes = unpacking.decompress(data, n + 1)
    except zlib.error as error:
        raise ValueError(f"a map of activations is packed by zlib, got something else ({error})") from error
    if len(codes) != n or not unpacking.eof or unpacking.unused_data:
        raise ValueError(f"a map of {size[0]} x {size[1]} activations is expected, got another number")
    return np.frombuffer(codes, np.uint8).reshape(size)


def _webp(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", **options)
    return buffer.getvalue()
