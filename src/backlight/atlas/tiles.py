"""Tiles: how a patch and a projection are kept in an atlas.

A patch is a lossy WebP. A projection is a lossless WebP of 8-bit codes, from which the values can be read back:
code 128 is zero and r = s · sign(code - 128) · ((code - 128) / 127)², s being the scale kept beside it. The square
gives small values the finer steps (`decode_projection` states the error).
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PATCH_QUALITY = 90
_LOSSLESS_EFFORT = {"lossless": True, "quality": 25, "method": 0, "exact": True}


def encode_patch(pixels: NDArray[np.uint8]) -> bytes:
    """Return a patch (h, w, 3) or (h, w) as WebP bytes."""
    return _webp(Image.fromarray(pixels).convert("RGB"), quality=PATCH_QUALITY, method=2)


def decode_picture(data: bytes) -> Image.Image:
    """Return the RGB picture of WebP bytes."""
    with Image.open(io.BytesIO(data)) as image:
        return image.convert("RGB")


def encode_projection(values: NDArray[np.float32]) -> tuple[bytes, float]:
    """Return a projection (h, w, c), c = 1 or 3, as WebP bytes and its scale, the largest magnitude."""
    scale = float(np.abs(values).max(initial=0.0))
    relative = values / scale if scale else np.zeros_like(values)
    codes = np.rint(127 * np.sign(relative) * np.sqrt(np.abs(relative))) + 128
    rgb = np.broadcast_to(codes.astype(np.uint8), (*values.shape[:2], 3))
    return _webp(Image.fromarray(np.ascontiguousarray(rgb)), **_LOSSLESS_EFFORT), scale


def decode_projection(data: bytes, scale: float, channels: int = 3) -> NDArray[np.float32]:
    """Return the projection (h, w, c) that `encode_projection` kept.

    *Convention*: an entry r comes back within scale/127 · (sqrt(|r|/scale) + 1/508), half a code.
    """
    codes = np.asarray(decode_picture(data), np.float32)[..., :channels] - 128
    return np.asarray(scale * np.sign(codes) * (codes / 127) ** 2, np.float32)


def _webp(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", **options)
    return buffer.getvalue()
