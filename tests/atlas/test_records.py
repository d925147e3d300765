"""Records: a tile is decoded only if it is what a build writes."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from atlas.files import first_hit, put_tile
from backlight.errors import DamagedAtlasError


def as_bytes(kind: str, size: tuple[int, int], **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 3 3\n" + b" " * 40, "a tile is a WebP picture"),
        (as_bytes("PNG", (3, 3)), "a tile is a WebP picture"),
        (as_bytes("WEBP", (3, 3), save_all=True, append_images=[Image.new("RGB", (3, 3), "red")]), "a WebP picture"),
        (as_bytes("WEBP", (4, 3)), r"of \d+ x \d+ pixels is expected, got 3 x 4"),
        (b"", "a tile is a WebP picture"),
        ("text", "patch must be bytes, got 'text'"),
    ],
)  # fmt: skip
def test_a_tile_of_another_kind_or_size_is_refused_before_it_is_decoded(
    tiny: Path, data: object, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_tile(tiny, patch=data)
    hit = first_hit(tiny)
    monkeypatch.setattr(Image, "open", None)
    with pytest.raises(DamagedAtlasError, match=message):
        _ = hit.patch
