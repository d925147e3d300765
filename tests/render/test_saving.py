"""Saving figures: no pixel of a picture is lost, in whatever file it stands."""

from __future__ import annotations

import io
import re
import struct
import zlib
from base64 import b64decode
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from backlight.errors import BadInputError
from backlight.render import save_figure
from backlight.render.plots import Plot
from backlight.render.saving import FORMATS


@pytest.fixture
def picture() -> Image.Image:
    values = np.random.default_rng(0).integers(
        0, 256, (37, 53, 3), np.uint8
    )  # more colours than a palette has
    return Image.fromarray(values)


def test_an_svg_has_the_size_and_the_pixels_of_the_picture(tmp_path: Path, picture: Image.Image) -> None:
    save_figure(picture, tmp_path / "f.svg")
    root = ElementTree.fromstring((tmp_path / "f.svg").read_text())
    assert (root.get("width"), root.get("height"), root.get("viewBox")) == ("53", "37", "0 0 53 37")
    (image,) = root
    data = image.get("{http://www.w3.org/1999/xlink}href")
    assert data is not None
    stored = Image.open(io.BytesIO(b64decode(data.partition("base64,")[2])))
    assert np.array_equal(np.asarray(stored), np.asarray(picture))


def test_a_pdf_has_the_size_and_the_pixels_of_the_picture(tmp_path: Path, picture: Image.Image) -> None:
    save_figure(picture, tmp_path / "f.pdf")
    data = (tmp_path / "f.pdf").read_bytes()
    box = re.search(rb"/MediaBox \[ ?0 0 ([\d.]+) ([\d.]+) ?\]", data)
    assert box is not None
    assert [float(side) for side in box.groups()] == pytest.approx([53 / 130 * 72, 37 / 130 * 72])
    found = re.search(rb"/Subtype /Image(?:(?!stream).)*?stream\r?\n", data, re.DOTALL) or re.search(
        rb"/Predictor 10(?:(?!stream).)*?stream\r?\n", data, re.DOTALL
    )
    assert found is not None
    packed = data[found.end() : data.index(b"endstream", found.end())]
    upside_down = np.asarray(_as_png(packed, picture.size))  # a page of PDF begins at its bottom
    assert np.array_equal(upside_down[::-1], np.asarray(picture))


def _as_png(packed: bytes, size: tuple[int, int]) -> Image.Image:
    """Return the picture of a stream with PNG's predictor: the same bytes in a PNG."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0)), (b"IDAT", packed), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    ]
    return Image.open(io.BytesIO(b"\x89PNG\r\n\x1a\n" + b"".join(parts)))


def test_grey_pictures_and_equal_bytes(tmp_path: Path) -> None:
    for name in ("a.pdf", "b.pdf"):
        save_figure(Image.new("L", (8, 6), 99), tmp_path / name)
    assert (tmp_path / "a.pdf").read_bytes() == (tmp_path / "b.pdf").read_bytes()


@pytest.mark.parametrize("ending", [*FORMATS, ".jpeg", ".PNG"])
def test_every_form_takes_pictures_and_plots(tmp_path: Path, picture: Image.Image, ending: str) -> None:
    begins = {".png": b"\x89PNG", ".webp": b"RIFF", ".pdf": b"%PDF", ".svg": b"<", ".jpg": b"\xff\xd8"}
    for figure in (picture, Plot(figsize=(2, 1))):
        path = tmp_path / f"f{ending}"
        save_figure(figure, str(path))
        assert path.read_bytes().startswith(begins[ending.lower().replace("jpeg", "jpg")])


def test_another_ending_is_refused(tmp_path: Path, picture: Image.Image) -> None:
    with pytest.raises(BadInputError, match=r"a figure is written as \.png, .* or \.jpg, got '.*f\.bmp'"):
        save_figure(picture, tmp_path / "f.bmp")
    assert list(tmp_path.iterdir()) == []
